"""One way of telling how far a long loop has come."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
Progress = Callable[[Iterable[T], int, str], Iterable[T]]


def track(items: Iterable[T], total: int, label: str, every: float = 10.0) -> Iterator[T]:
    """Yield ``items``, telling on stderr how many of ``total`` are done.

    A bar where stderr is a terminal; elsewhere (a log file) one plain line at most every ``every`` seconds.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=label, dynamic_ncols=True)
        return
    started = told = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if (now := time.monotonic()) - told >= every:
            told = now
            print(f"{label}: {done}/{total} in {now - started:.0f} s", file=sys.stderr, flush=True)


def silent(items: Iterable[T], total: int, label: str) -> Iterable[T]:
    """The progress that says nothing."""
    return items
