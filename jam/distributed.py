"""More than one process, on one host or several: what ``torchrun`` starts, known by its environment variables, or some
of one's own that share a file.

Processes share out the batches of a feature extraction and meet at a key-value store; nothing is sent from one to
another. One process alone needs none of this: a `World` of one does nothing.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from jam.errors import InputError

if TYPE_CHECKING:
    import torch.distributed as dist

T = TypeVar("T")
BEAT = 1.0  # seconds between two signs of life
SILENCE = 30.0  # seconds without one after which a process is taken for dead
LOST = "another process of this run ended or fell silent; its own last line says why; nothing was written, run again"


@dataclass(frozen=True)
class World:
    """This process among its peers; by default alone."""

    rank: int = 0
    size: int = 1
    store: "dist.Store | None" = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes what is written once."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process' part: every ``size``-th item, from number ``rank`` on."""
        return items[self.rank :: self.size]

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


class _Watch:
    """Notices who has stopped counting."""

    def __init__(self, store: "dist.Store", size: int) -> None:
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
def connected() -> Iterator[World]:
    """Connect to the other processes for the length of a block.

    Raises:
        InputError: another process ended early.
    """
    alone = launched()
    if alone.size == 1:
        yield alone
        return
    import torch.distributed as dist  # a second to import, which stages that run alone need not wait for

    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=timedelta(seconds=60)))
        with _among(World(rank, size, store)) as world:
            yield world
    except dist.DistError as error:
        raise InputError(LOST) from error


@contextmanager
def beside(path: str, rank: int, size: int) -> Iterator[World]:
    """Connect to the other processes of a host that were started for the same work, for the length of a block.

    Args:
        path: of a file that is not there yet, the same for all of them.
        rank: of this process, from 0.
        size: how many there are.

    Raises:
        InputError: another process ended early.
    """
    if size == 1:
        yield ALONE
        return
    import torch.distributed as dist

    with _among(World(rank, size, dist.FileStore(path, size))) as world:
        yield world


@contextmanager
def _among(world: World) -> Iterator[World]:
    """A world whose other processes see that this one lives; it ends when all have come to its end."""
    stop = threading.Event()
    threading.Thread(target=_beat, args=(world.store, world.rank, stop), daemon=True).start()
    try:
        yield world
        world.meet("end")
    finally:
        stop.set()


def _beat(store: "dist.Store", rank: int, stop: threading.Event) -> None:
    """Signs of life, until told to stop or the store is gone."""
    from torch.distributed import DistError

    while not stop.wait(BEAT):
        try:
            store.add(f"beat/{rank}", 1)
        except DistError:
            return
