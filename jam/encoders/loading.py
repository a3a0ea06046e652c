"""A frozen model and its processor from a local folder: with its weights, or with those of its random twin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from jam.encoders.families import family_of, in_one_line, quiet, read_config
from jam.encoders.manifest import Modality
from jam.encoders.twin import random_twin
from jam.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def load_pretrained(
    folder: Path,
    modality: Modality,
    auto_class: Any = None,
    dtype: torch.dtype = torch.float32,
    random_seed: int | None = None,
    depth: int | None = None,
) -> tuple[PreTrainedModel, Any]:
    """Model and tokenizer or image processor of a local folder, through the Auto classes, safetensors only.

    The folder has the Hugging Face layout. The model is built by ``auto_class``, by default ``AutoModel``; with a
    ``random_seed`` it is the twin of that, see `jam.encoders.twin`; with a ``depth``, it has its first blocks alone.

    Raises:
        InputError: transformers cannot load it, it is no transformer of as many blocks, or the file of weights is cut
            short or lacks some.
    """
    # transformers takes seconds to import, and only a call that loads a model needs it.
    import transformers
    from transformers import AutoModel

    # A report of unused heads is no news; weights that are missing are an error below.
    with quiet(), in_one_line(folder, f"{folder}: transformers cannot load it"):
        config = _cut(read_config(folder, modality), depth, folder)
        model_class, options = auto_class or AutoModel, dict[str, Any]()
        if auto_class is None and (tower := family_of(config).tower):
            name, part = tower
            model_class = getattr(transformers, name)
            options["key_mapping"] = {rf"^(\w+\.)?{part}\.": ""}
        model, info = model_class.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
        if modality == "image":
            from transformers import AutoImageProcessor

            processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
        else:
            from transformers import AutoTokenizer

            # Right padding leaves every real token at the position that it has without padding.
            processor = AutoTokenizer.from_pretrained(folder, padding_side="right", trust_remote_code=False)
            if processor.pad_token is None:
                processor.pad_token = processor.eos_token
    # Missing weights are drawn at random by transformers; only a pooling head, which is not used here, may be.
    if missing := sorted(key for key in info["missing_keys"] if "pooler" not in key):
        raise InputError(f"{folder}: {len(missing)} weights are missing, {missing[0]} first; expected all of them")
    if random_seed is not None:
        model = cast(Any, random_twin(model, random_seed)).to(dtype)
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # keys and values are kept for generation alone
    return model, processor


def _cut(config: PreTrainedConfig, depth: int | None, folder: Path) -> PreTrainedConfig:
    """The configuration of a transformer's first blocks alone; None for all."""
    if depth is not None:
        if depth > (blocks := getattr(config, "num_hidden_layers", 0)):
            raise InputError(f"{folder}: depth: got {depth}, expected at most the {blocks} blocks that it has")
        config.num_hidden_layers = depth
    return config
