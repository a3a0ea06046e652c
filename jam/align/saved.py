"""A trained module on disk: its tensors as safetensors, beside the arguments that build it."""

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from jam.errors import InputError
from jam.io import read_json, replace_folder, write_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Saved(nn.Module):
    """A module that is kept in a folder.

    Attributes:
        config: the arguments that build it, JSON-ready.
        NAME: what messages call it.
        KEYS: some of its arguments, by which a folder is known to be of an earlier ``save``.
    """

    config: dict[str, Any]
    NAME: ClassVar[str] = "module"
    KEYS: ClassVar[tuple[str, ...]] = ()

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``config.json``; the folder appears whole or not at all.

        Raises:
            InputError: the folder is not new or empty, and holds other things than such a module.
        """
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        with replace_folder(folder, CONFIG, self.KEYS) as part:
            save_file(state, part / WEIGHTS)
            write_json(part / CONFIG, self.config)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """Read what ``save`` wrote, in evaluation mode.

        Raises:
            InputError: the folder holds no such module, or one that does not fit its config.
        """
        folder = Path(folder)
        if not (folder / CONFIG).is_file():
            raise InputError(f"{folder}: no {cls.NAME} here, expected {CONFIG} and {WEIGHTS}")
        try:
            module = cls(**read_json(folder / CONFIG))
            state = load_file(folder / WEIGHTS)
            module._before_loading(state)
            module.load_state_dict(state)
        except (SafetensorError, RuntimeError, TypeError, ValueError, KeyError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{folder}: the {cls.NAME} cannot be read: {reason}") from error
        return module.to(device).eval()

    def _before_loading(self, state: dict[str, torch.Tensor]) -> None:
        """What a module does before it takes tensors."""
