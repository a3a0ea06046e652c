"""More than one process, on one host or several: what ``torchrun`` starts, known by its environment variables.

One process alone needs none of this: a `World` of one does nothing. Adapters are tiny, so there is no
`DistributedDataParallel`; latents are gathered and gradients added up here. Processes that only share out work, as
when features are extracted, need no collectives either: they meet at the launcher's key-value store.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from jam.errors import InputError

T = TypeVar("T")
BEAT = 1.0  # seconds between two signs of life
SILENCE = 30.0  # seconds without one after which a process is taken for dead
LOST = "another process of this run ended or fell silent; its own last line says why; nothing was written, run again"


@dataclass(frozen=True)
class World:
    """This process among its peers; by default alone."""

    rank: int = 0
    size: int = 1
    store: dist.Store | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes what is written once."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process' part: every ``size``-th item, from number ``rank`` on."""
        return items[self.rank :: self.size]

    def slice(self, n: int) -> slice:
        """This process' part of n rows that stay together, at most one more or less than any other's."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def gather(self, rows: Tensor, n: int) -> Tensor:
        """All processes' rows in order, (n, d); a gradient flows to this process' own rows alone.

        Every process computes the whole loss from the result, each with the gradient of its own rows, so that their
        sum (`add_up`) is the gradient of the whole batch.
        """
        if self.size == 1:
            return rows
        longest = -(-n // self.size)
        padded = torch.zeros(longest, rows.shape[1], dtype=rows.dtype, device=rows.device)
        padded[: len(rows)] = rows.detach()
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        lengths = [len(range(n)[World(rank, self.size).slice(n)]) for rank in range(self.size)]
        found = [part[:length] for part, length in zip(parts, lengths, strict=True)]
        found[self.rank] = rows
        return torch.cat(found)

    def add_up(self, parameters: Sequence[Tensor], shared: Tensor | None = None) -> None:
        """Replace every gradient by its sum over the processes.

        Args:
            parameters: those of the model.
            shared: one of them that every process has the whole gradient of; its mean is taken.
        """
        if self.size > 1:
            if shared is not None and shared.grad is not None:
                shared.grad /= self.size
            # A process without rows of the last, small batch has no gradient, and takes part with zeros.
            trained = [p for p in parameters if p.requires_grad]
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
            dist.all_reduce(flat)
            for p, part in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
                p.grad = part.view_as(p)

    def sum(self, value: float) -> float:
        """The sum of a number over the processes."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=_device())
        dist.all_reduce(told)
        return float(told.item())

    def agree(self, values: Mapping[str, float]) -> dict[str, float]:
        """The first process' numbers, on all of them: no last bit may make one stop and another go on."""
        if self.size == 1:
            return dict(values)
        told = torch.tensor(list(values.values()), dtype=torch.float64, device=_device())
        dist.broadcast(told, 0)
        return dict(zip(values, told.tolist(), strict=True))

    def meet(self, place: str) -> None:
        """Wait here until all processes have come, however long a living one takes.

        Args:
            place: a name used once.

        Raises:
            InputError: one of them has given no sign of life for ``SILENCE`` seconds.
        """
        if self.store is None:
            return
        self.store.add(f"{place}/come", 1)
        watch = _Watch(self.store, self.size)
        while self.store.add(f"{place}/come", 0) < self.size:
            watch.look()
            time.sleep(0.1)
        # Whoever holds the store leaves last, or the others would find it gone.
        self.store.add(f"{place}/gone", 1)
        while self.first and self.store.add(f"{place}/gone", 0) < self.size:
            watch.look()
            time.sleep(0.1)


ALONE = World()


def _device() -> str:
    """Where collectives take their tensors from."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


class _Watch:
    """Notices who has stopped counting."""

    def __init__(self, store: dist.Store, size: int) -> None:
        self._store = store
        self._seen = {rank: (-1, time.monotonic()) for rank in range(size)}

    def look(self) -> None:
        """Raise if a process has been silent for too long."""
        now = time.monotonic()
        for rank, (count, since) in self._seen.items():
            beats = self._store.add(f"beat/{rank}", 0)
            if beats != count:
                self._seen[rank] = (beats, now)
            elif now - since > SILENCE:
                raise InputError(f"process {rank}: {LOST}")


def launched() -> World:
    """Rank and size that the launcher told of (RANK, WORLD_SIZE), not yet connected; one process where it did not."""
    return World(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


@contextmanager
def connected(collectives: torch.device | None = None) -> Iterator[World]:
    """Connect to the other processes for the length of a block.

    Args:
        collectives: the device whose tensors will be gathered and added up, by NCCL between GPUs, else by Gloo; None
            for processes that only meet.

    Raises:
        InputError: another process ended early.
    """
    alone = launched()
    if alone.size == 1:
        yield alone
        return
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=timedelta(seconds=60)))
        stop = threading.Event()
        threading.Thread(target=_beat, args=(store, rank, stop), daemon=True).start()
        if collectives is not None:
            backend = "nccl" if collectives.type == "cuda" else "gloo"
            group = dist.PrefixStore("group", store)
            timeout = timedelta(seconds=SILENCE)
            dist.init_process_group(backend, store=group, rank=rank, world_size=size, timeout=timeout)
        world = World(rank, size, store)
        yield world
        world.meet("end")
        stop.set()
    except (dist.DistError, RuntimeError) as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "nccl" in str(error).lower():
            raise InputError(LOST) from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _beat(store: dist.Store, rank: int, stop: threading.Event) -> None:
    """Signs of life, until told to stop or the store is gone."""
    while not stop.wait(BEAT):
        try:
            store.add(f"beat/{rank}", 1)
        except dist.DistError:
            return
