"""The vector by which a tower of a two-tower model is compared with those of the other tower."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from jam.encoders.families import family_of
from jam.encoders.manifest import PROJECTION, Manifest
from jam.errors import InputError
from jam.io import read_json

Summary = Literal["pooler", "cls", "pooled"]


class Projection(nn.Module):
    """What a two-tower model makes of one tower's output, (b, d_joint), float32, not normalised.

    Args:
        summary: what it starts from: the model's own pooled output, the first token, or the states as the manifest
            pools them.
        weight: (d_joint, d) of a linear map; None for none.
        bias: (d_joint,).
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, summary: Summary, weight: Tensor | None = None, bias: Tensor | None = None) -> None:
        super().__init__()
        self.summary = summary
        self.weight, self.bias = (
            None if each is None else nn.Parameter(each.float(), requires_grad=False) for each in (weight, bias)
        )

    def forward(self, output: Any, pooled: Tensor) -> Tensor:
        """Of a model's output, and of its last states pooled (b, d)."""
        found = {
            "pooler": lambda: output.pooler_output.flatten(1),
            "cls": lambda: output.last_hidden_state[:, 0],
            "pooled": lambda: pooled,
        }[self.summary]().float()
        return found if self.weight is None else nn.functional.linear(found, self.weight, self.bias)

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, config: Any) -> Projection:
        """That of a tower: beside its weights if it was trained here, else in those of the whole model.

        Of a random twin it is drawn from its seed, of deviation d^-½.

        Raises:
            InputError: it is not there.
        """
        if manifest.source == "cave":
            try:
                return cls("pooled", load_file(folder / PROJECTION)["weight"])
            except (SafetensorError, KeyError, OSError) as error:
                raise InputError(f"{folder / PROJECTION}: expected a tensor weight, got: {error}") from error
        joint = family_of(config).joint
        if joint is None:
            raise InputError(f"{manifest.id}: {config.model_type} has no space that it shares with another tower")
        if joint.projection is None:
            return cls(joint.summary)
        found = named_weights(folder, joint.projection)
        if (seed := manifest.random_seed) is not None:
            drawn = torch.Generator().manual_seed(seed)
            weight = torch.randn(found["weight"].shape, generator=drawn) / found["weight"].shape[1] ** 0.5
            found = {name: weight if name == "weight" else torch.zeros_like(of) for name, of in found.items()}
        return cls(joint.summary, **found)


def named_weights(folder: Path, layer: str) -> dict[str, Tensor]:
    """``weight`` and, where it has one, ``bias`` of a linear layer in a folder's safetensors, in one file or several.

    Args:
        folder: of the Hugging Face layout.
        layer: its name, which may stand behind that of a model that holds it.

    Raises:
        InputError: there is none.
    """
    single, sharded = folder / "model.safetensors", folder / "model.safetensors.index.json"
    files = [single.name] if single.is_file() else sorted(set(read_json(sharded)["weight_map"].values()))
    found: dict[str, Tensor] = {}
    try:
        for file in files:
            with safe_open(folder / file, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118
                    parent, _, name = key.rpartition(".")
                    if parent == layer or parent.endswith(f".{layer}"):
                        found[name] = tensors.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder}: {' '.join(str(error).split())}") from error
    if "weight" not in found:
        raise InputError(f"{folder}: got no {layer}.weight, expected the projection into the shared space")
    return found
