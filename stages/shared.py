"""What the stages that encode views share: which views, and how their batches are shared out to processes."""

from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from jam.distributed import World, beside, connected, launched
from jam.encoders.manifest import Manifest
from jam.parallel import in_processes, processes
from jam.params import load_params

T = TypeVar("T")
Work = Callable[[str, World], T]
"""What a process does of an encoder, by its name, and what it tells."""


def limits() -> Any:
    """How many views of the training items are encoded."""
    features = load_params().features
    return {"train": tuple(None if n == "all" else n for n in (features.train_captions, features.train_negatives))}


def share_out(work: Work[T], name: str, manifest: Manifest) -> T:
    """What the first process tells. Of encoders that every process can hold there is one a core, else all in this one.

    Small nets gain nothing by several threads, and the number of threads would move the last bits of their states.
    """
    from jam.device import pick_device

    if launched().size > 1 or manifest.source not in ("cave", "package") or pick_device().type != "cpu":
        with connected() as world:
            return work(name, world)
    size = processes()
    with TemporaryDirectory() as folder:
        calls = [(work, name, f"{folder}/store", rank, size) for rank in range(size)]
        return dict(in_processes(_part, calls, size))[0]


def _part(work: Work[T], name: str, path: str, rank: int, size: int) -> tuple[int, T]:
    with beside(path, rank, size) as world:
        return rank, work(name, world)
