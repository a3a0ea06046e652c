"""One interface to a frozen encoder, whatever its modality, architecture and source."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from jam.data.images import as_rgb
from jam.device import pick_device
from jam.encoders.families import family_of, marks_of
from jam.encoders.finding import find_encoder
from jam.encoders.folder import folder_manifest
from jam.encoders.items import listed, opened, whole_number
from jam.encoders.joint import Projection
from jam.encoders.loading import load_pretrained
from jam.encoders.manifest import KEYS, MANIFEST, PROJECTED, Manifest, Modality, Source
from jam.encoders.pooling import pool
from jam.errors import InputError
from jam.io import replace_folder

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LARGEST_SEED = 2**64 - 1  # that torch takes
LONGEST = 2048  # tokens of a text, where neither the tokenizer nor the model knows a limit (BLOOM: as in its training)


class Encoder:
    """A frozen model that turns images or texts into one pooled vector a layer.

    Layer 0 is the embedding (the stem of a convnet), the last layer is the model's output, normalised where the
    model normalises it. Of a tower that is ``projected``, one more comes after it: the vector, of whatever length, that
    its model compares with those of the other tower. Build one with `Encoder.load`.

    Example:
        >>> encoder = Encoder.load("minilm")
        >>> encoder.encode(["a red seven"]).shape
        (1, 384)
    """

    projection: Projection | None = None

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        manifest: Manifest,
        folder: Path,
        autocast: bool = False,
        projection: Projection | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.processor = processor
        self.manifest = manifest
        self.folder = folder  # of the weights
        self.autocast = autocast
        self.projection = projection

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        device: str | None = None,
        dtype: str | None = None,
        random_seed: int | None = None,
        modality: Modality | None = None,
        projected: bool = False,
    ) -> Encoder:
        """Load an encoder.

        Args:
            name_or_path: a folder with ``encoder.json`` or of the Hugging Face layout, a packaged one (``minilm``), or
                a hub model ``owner/name``.
            device: ``cuda``, ``mps`` or ``cpu``; None for the fastest present.
            dtype: of weights and states, ``float32``, ``float16`` or ``bfloat16``. None for float32; on CUDA, for
                bfloat16: models of the hub or a folder in weights and states, the small ones of the other sources by
                autocast. Pooling is done in float32 always.
            random_seed: for the random twin, see `jam.encoders.twin`: tokenizer or preprocessing as they are, weights
                drawn from this seed; None for the weights that the encoder has.
            modality: ``image`` or ``text``, of a hub model or a folder that has both (CLIP); None for the only one.
            projected: whether the last layer is to be the space that a two-tower model of the hub or a folder shares.

        Raises:
            InputError: no such encoder, missing or altered weights, a modality or a shared space that it has not, or a
                bad device, dtype or seed.
        """
        if dtype is not None and dtype not in DTYPES:
            raise InputError(f"encoder dtype: got {dtype!r}, expected one of {sorted(DTYPES)}")
        target = pick_device(device)
        folder, manifest = find_encoder(name_or_path, modality, projected)
        if random_seed is not None:
            if manifest.source == "cave" and manifest.projected:
                raise InputError(
                    f"{folder}: got random_seed of a tower trained here, expected its checkpoint 0 instead"
                )
            if manifest.source == "cave":  # its weights lie beside its manifest: the twin's manifest names their folder
                manifest = folder_manifest(folder, manifest.modality, manifest.pooling, manifest.max_tokens)
            manifest = manifest.twin(whole_number(random_seed, "random_seed", 0, LARGEST_SEED))
        drawn = None if manifest.source == "cave" else manifest.random_seed  # a cave twin lies there as it was drawn
        kind, autocast = precision(manifest.source, target.type, dtype)
        model, processor = load_pretrained(
            folder, manifest.modality, dtype=kind, random_seed=drawn, depth=manifest.depth
        )
        cast(nn.Module, model).to(device=target, dtype=kind)
        projection = Projection.load(folder, manifest, model.config).to(target) if manifest.projected else None
        return cls(model, processor, manifest, folder, autocast, projection)

    def save(self, folder: str | Path) -> None:
        """Write what `load` needs: the manifest, which pins the model, and the weights of one pretrained here.

        Raises:
            InputError: a folder that holds anything else, see `jam.io.replace_folder`.
        """
        with replace_folder(folder, MANIFEST, KEYS) as part:
            if self.manifest.source == "cave":
                shutil.copytree(self.folder, part, dirs_exist_ok=True)
            else:
                self.manifest.write(part)

    @property
    def modality(self) -> Modality:
        """``image`` or ``text``."""
        return self.manifest.modality

    @cached_property
    def dims(self) -> tuple[int, ...]:
        """Width of each layer, found by encoding one small item."""
        from PIL import Image

        item = Image.new("RGB", (64, 64)) if self.modality == "image" else "a"
        return tuple(state.shape[1] for state in self.hidden_states([item]))

    @cached_property
    def max_tokens(self) -> int:
        """Texts are cut to this many tokens; InputError where that leaves no room for one of the text."""
        config, limits = self.model.config, [self.manifest.max_tokens, self.processor.model_max_length]
        if positions := getattr(config, "max_position_embeddings", None):
            limits.append(positions - family_of(config).reserved)
        # A tokenizer without a limit says so by an enormous number.
        limit = min((limit for limit in limits if limit and limit < 10**9), default=LONGEST)
        if limit < (least := self.processor.num_special_tokens_to_add() + 1):  # the tokenizer would cut nothing
            raise InputError(f"{self.manifest.id}: max_tokens: got {limit}, expected at least {least}")
        return limit

    def describe(self) -> dict[str, Any]:
        """What was loaded: identity, size, shape and precision, JSON-ready and free of machine-dependent values."""
        modules = [cast(nn.Module, self.model), *([] if self.projection is None else [self.projection])]
        return {
            "id": self.manifest.id,
            "modality": self.modality,
            "source": self.manifest.source,
            "revision": self.manifest.revision,
            "sha256": self.manifest.sha256,
            "architecture": type(self.model).__name__,
            "parameters": sum(weights.numel() for module in modules for weights in module.parameters()),
            "layers": len(self.dims),
            "dims": list(self.dims),
            "pooling": self.manifest.pooling,
            "max_tokens": self.max_tokens if self.modality == "text" else None,
            "precision": "bfloat16 autocast" if self.autocast else str(self.model.dtype).removeprefix("torch."),
            **({} if self.manifest.random_seed is None else {"random_seed": self.manifest.random_seed}),
            **{key: self.manifest.recipe[key] for key in PROJECTED if key in self.manifest.recipe},
        }

    def prepare(self, batch: Sequence[Image | str]) -> dict[str, Tensor]:
        """Preprocess images or tokenize texts, on the CPU; safe to call in another thread than `pooled_states`.

        Raises:
            InputError: a text without a token.
        """
        if self.modality == "image":
            images = cast("Sequence[Image]", batch)
            return dict(self.processor([as_rgb(image) for image in images], return_tensors="pt"))
        options = {"truncation": True, "max_length": self.max_tokens, "return_tensors": "pt"}
        options |= {
            "padding": "max_length" if family_of(self.model.config).full else True,
            "return_attention_mask": True,
        }
        inputs = dict(self.processor(list(batch), verbose=False, **options))
        real = inputs["attention_mask"].any(dim=1)
        if not real.all():  # some tokenizers add no token of their own
            text = str(batch[int(real.long().argmin())])[:40]
            raise InputError(f"{self.manifest.id}: got no token from the text {text!r}, expected at least one")
        return inputs

    def _states(self, inputs: dict[str, Tensor]) -> tuple[list[Tensor], Tensor | None, Any]:
        """Run the model on what `prepare` gave: states of each layer, which tokens are real (None: all), its output."""
        device = self.model.device
        moved = {name: value.to(device, non_blocking=True) for name, value in inputs.items()}
        if "pixel_values" in moved:
            moved["pixel_values"] = moved["pixel_values"].to(self.model.dtype)
        mask = moved.get("attention_mask")
        family = family_of(self.model.config)
        if family.full:
            moved.pop("attention_mask", None)
        if family.inputs is not None:
            moved |= family.inputs(self.model, len(moved["pixel_values"]))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.autocast):
            output = self.model(**moved, output_hidden_states=True)
        # Some models leave the final normalisation out of their last hidden state: the output has it.
        states = [*output.hidden_states[: None if family.head else -1], output.last_hidden_state]
        return states, mask, output

    @torch.inference_mode()
    def pooled_states(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """Run the model on what `prepare` gave: for each layer (b, d_l), float32, on the model's device."""
        states, mask, output = self._states(inputs)
        marks = marks_of(self.model.config)
        found = [pool(state, mask, self.manifest.pooling, marks) for state in states]
        return found if self.projection is None else [*found, self.projection(output, found[-1])]

    @torch.inference_mode()
    def token_states(self, inputs: dict[str, Tensor], layer: int) -> tuple[Tensor, Tensor]:
        """Run the model on what `prepare` gave: the states of all tokens of one layer.

        Returns:
            (b, t, d_l) float32 and (b, t) booleans, true on real tokens and false on padding, on the model's device.
            Positions of a feature map count row by row; special tokens (CLS, end of text) are among the tokens.
        """
        states, mask, _ = self._states(inputs)
        if self.projection is not None:
            if layer in (-1, len(states)):
                raise InputError(f"{self.manifest.id}: got layer {layer}, one vector an item, expected one with tokens")
            layer += layer < 0  # the shared space is the last layer
        found = states[layer].float()
        if found.dim() == 4:
            found = found.flatten(2).transpose(1, 2)
        real = torch.ones(found.shape[:2], dtype=torch.bool, device=found.device) if mask is None else mask.bool()
        return found, real

    def hidden_states(self, batch: Sequence[Image | str]) -> list[Tensor]:
        """Pooled states of every layer for one batch: for each layer (b, d_l), float32, on the model's device."""
        return self.pooled_states(self.prepare(batch))

    def encode(self, items: Iterable[Image | Path | str], batch_size: int = 64, layer: int = -1) -> np.ndarray:
        """Pooled states of one layer.

        Args:
            items: n texts, or n images (PIL, or ``pathlib.Path`` of files); any column or generator, by position.
            batch_size: how many go through the model together.
            layer: 0 … layers−1, or negative from the last.

        Returns:
            (n, d_layer) float32, in the order of ``items``, finite.

        Raises:
            InputError: no list, an item (named by its position) that is no text or image, or becomes a NaN, a layer
                that the encoder has not, or a bad batch size.
        """
        layer = whole_number(layer, "layer", -len(self.dims), len(self.dims) - 1)
        given = listed(items, self.modality)
        out = np.empty((len(given), self.dims[layer]), dtype=np.float32)
        for rows in self.batches(given, batch_size):
            batch = [opened(given[row], row) if self.modality == "image" else given[row] for row in rows]
            out[rows] = self.hidden_states(batch)[layer].cpu().numpy()
            finite = np.isfinite(out[rows]).all(axis=1)
            if not finite.all():
                row = rows[int(finite.argmin())]
                raise InputError(f"item {row}: {self.manifest.id} made a NaN or infinity of it (try dtype float32)")
        return out

    def batches(
        self, items: Sequence[Image | str], batch_size: int, counts: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Which items go through the model together: texts by falling token count, so that little is padding.

        A pure function of its arguments: the composition of a batch moves the last bits of its features. ``counts``
        are the `token_counts` of texts, where they are known already.
        """
        batch_size = whole_number(batch_size, "batch_size", 1)
        order = np.arange(len(items))
        if self.modality == "text":
            counts = self.token_counts(cast("Sequence[str]", items)) if counts is None else counts
            order = np.argsort(-counts, kind="stable")
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def token_counts(self, texts: Sequence[str]) -> np.ndarray:
        """Number of tokens of each text before it is cut to ``max_tokens``, (n,)."""
        chunks = [list(texts[start : start + 10_000]) for start in range(0, len(texts), 10_000)]
        tokens = (ids for chunk in chunks for ids in self.processor(chunk, verbose=False)["input_ids"])
        return np.fromiter((len(ids) for ids in tokens), dtype=np.int64, count=len(texts))


def precision(source: Source, device: str, dtype: str | None) -> tuple[torch.dtype, bool]:
    """Type of weights and states, and whether to compute under bfloat16 autocast, where ``dtype`` does not say.

    On CUDA small encoders keep their weights in float32; those of the hub or a folder might take twice the memory.
    """
    if dtype is not None or device != "cuda":
        return DTYPES[dtype or "float32"], False
    return (torch.bfloat16, False) if source in ("hub", "folder") else (torch.float32, True)
