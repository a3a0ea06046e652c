"""Writing the Hugging Face folder that a conversion makes: configuration, weights, processor."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file
from torch import Tensor

from jam.encoders.families import quiet
from jam.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def write_model(out: Path, model: "PreTrainedModel", weights: Mapping[str, Tensor], processor: Any = None) -> None:
    """Write ``weights`` as those of ``model``, every one of them and no others, and its configuration.

    The same weights give the same bytes: the file is written here, so that it does not hang on a version of
    transformers.

    Raises:
        InputError: weights are missing, unknown, or of another shape.
    """
    try:
        model.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        raise InputError(f"{type(model).__name__}: {' '.join(str(error).split())[:300]}") from error
    model.config.architectures = [type(model).__name__]
    with quiet():
        model.config.save_pretrained(out)
        if processor is not None:
            processor.save_pretrained(out)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})
