"""Captions of images: a frozen encoder, a projector and a frozen language model, kept together in a folder."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jam.align.adapter import AnyAdapter
from jam.align.space import load_adapter
from jam.align.token_adapter import TokenAdapter
from jam.caption.language import Language
from jam.caption.lora import load_lora, without_lora
from jam.caption.projector import Projector
from jam.caption.train import prefixes, sentences
from jam.encoders import Encoder
from jam.encoders.items import listed
from jam.errors import InputError
from jam.features.ragged import Ragged, encode_tokens
from jam.io import read_json, replace_folder, write_json

if TYPE_CHECKING:
    from PIL.Image import Image

FILE, KEYS = "captioner.json", ("input", "layer", "language")
PROJECTOR, ADAPTER, LORA, ENCODER, LANGUAGE = "projector", "adapter", "lora", "encoder", "language"


def single(vectors: np.ndarray) -> Ragged:
    """Vectors (n, d) as sequences of one each."""
    ends = np.arange(1, len(vectors) + 1)
    return Ragged(vectors, np.stack([ends - 1, ends], axis=1))


def several(vectors: np.ndarray) -> Ragged:
    """Vectors (n, K, d) as sequences of K each."""
    n, count, d = vectors.shape
    ends = count * np.arange(1, n + 1)
    return Ragged(vectors.reshape(n * count, d), np.stack([ends - count, ends], axis=1))


def projected(kind: str, adapter: AnyAdapter | None, read: Any) -> Ragged:
    """What a projector reads of what an adapter reads: ``z`` of a space, ``latents`` of a resampler, or all ``tokens``.

    Raises:
        InputError: the adapter gives no such thing.
    """
    if kind == "tokens" and adapter is None:
        return read if isinstance(read, Ragged) else Ragged.of(read)
    if kind == "pooled" and adapter is None:
        return single(read)
    if kind == "latents" and isinstance(adapter, TokenAdapter):
        return several(adapter.encode_latents(read))
    if kind in ("z", "texts") and adapter is not None:
        return single(adapter.encode(read))
    got = "no adapter" if adapter is None else f"an adapter of kind {adapter.config['kind']}"
    raise InputError(f"input: got {kind!r} of {got}, expected z of a space, latents of a resampler, else none")


@dataclass(frozen=True)
class Captioner:
    """Says in words what is in images.

    Attributes:
        encoder: frozen, of images.
        layer: of it that is read.
        kind: ``z``, ``latents``, ``tokens``, their mean (``pooled``), or ``texts``, z too but learned from sentences
            alone.
        adapter: of the images' side of a space, which gives z or latents; None of tokens and their mean.
        projector: to the prefix.
        language: the frozen language model.

    Example:
        >>> captioner = Captioner.load("data/captions/cave/tokens/0")  # doctest: +SKIP
        >>> captioner.generate([photo])  # doctest: +SKIP
    """

    encoder: Encoder
    layer: int
    kind: str
    adapter: AnyAdapter | None
    projector: Projector
    language: Language

    def generate(self, images: "Iterable[Image | Path]", prompt: str = "", batch_size: int = 64) -> list[str]:
        """A sentence of each image, each word the likeliest; after a ``prompt``, how the sentence goes on.

        Raises:
            InputError: as `Encoder.encode`; or the language model cannot read the prompt (`Language.check_prompt`).
        """
        given = listed(images, "image")
        self.language.check_prompt(prompt, self.projector.k)
        if not given:
            return []
        if self.kind == "pooled":
            read: Any = self.encoder.encode(given, batch_size, self.layer)
        elif self.adapter is None:
            read = encode_tokens(self.encoder, given, self.layer, batch_size)
        else:
            read = self.adapter.read(self.encoder, given, self.layer, batch_size)
        prefix = prefixes(self.projector, projected(self.kind, self.adapter, read), batch_size)
        return sentences(self.language, prefix, [prompt] * len(given), batch_size)

    def save(self, folder: str | Path) -> None:
        """Write all that `load` needs: projector, adapter, LoRA, language model, and what pins the encoder.

        Raises:
            InputError: the folder is not new or empty, and holds other things than a captioner.
        """
        save_parts(folder, self.kind, self.layer, self.adapter, self.projector, self.language)
        folder = Path(folder)
        self.encoder.save(folder / ENCODER)
        base = without_lora(self.language)
        base.model.save_pretrained(folder / LANGUAGE)
        base.tokenizer.save_pretrained(folder / LANGUAGE)

    @classmethod
    def load(cls, folder: str | Path, device: str | None = None) -> "Captioner":
        """Read what `save` or the pipeline wrote.

        Args:
            folder: a captioner's; those of the pipeline name encoder and language model in ``data/encoders``.
            device: as in `Encoder.load`.

        Raises:
            InputError: a part is missing, or is another than it was trained with.
        """
        folder = Path(folder)
        if not (folder / FILE).is_file():
            raise InputError(f"{folder}: no captioner here, expected {FILE}")
        try:
            told = dict(read_json(folder / FILE))
        except (ValueError, TypeError) as error:
            raise InputError(f"{folder / FILE}: got {error}, expected what a captioner wrote") from error
        if missing := {"input", "layer", ENCODER, LANGUAGE, "fingerprint"} - set(told):
            raise InputError(f"{folder / FILE}: got no {', '.join(sorted(missing))}, expected those of a captioner")
        encoder = Encoder.load(_part(folder, told, ENCODER), device)
        target = encoder.model.device
        language = Language.load(_part(folder, told, LANGUAGE), target)
        if (got := language.fingerprint()) != told["fingerprint"]:
            raise InputError(
                f"{folder}: got a language model with weights {got[:12]}…, expected {told['fingerprint'][:12]}…, which "
                "the projector was trained in front of"
            )
        if (folder / LORA).is_dir():
            language = load_lora(language, folder / LORA)
        adapter = load_adapter(folder / ADAPTER, target) if (folder / ADAPTER).is_dir() else None
        return cls(encoder, told["layer"], told["input"], adapter, Projector.load(folder / PROJECTOR, target), language)


def _part(folder: Path, told: Mapping[str, Any], name: str) -> Path:
    return Path("data/encoders") / told[name] if told[name] else folder / name


def save_parts(
    folder: str | Path,
    kind: str,
    layer: int,
    adapter: AnyAdapter | None,
    projector: Projector,
    language: Language,
    encoder_name: str = "",
    language_name: str = "",
    told_of: Mapping[str, Any] | None = None,
) -> None:
    """Write what was trained; names are of folders in ``data/encoders``, empty where models lie beside it.

    ``told_of`` is whatever else is to be known of it: ``validation_loss``, and whether it was trained for ``captions``.

    Raises:
        InputError: the folder is not new or empty, and holds other things than a captioner.
    """
    told = {"input": kind, "layer": layer, ENCODER: encoder_name, LANGUAGE: language_name, **(told_of or {})}
    told["fingerprint"] = language.fingerprint()
    with replace_folder(folder, FILE, KEYS) as part:
        projector.save(part / PROJECTOR)
        if adapter is not None:
            adapter.save(part / ADAPTER)
        if language.lora:
            language.model.save_pretrained(part / LORA)
        write_json(part / FILE, told)
