"""Work over processes of one thread each: the same bytes on any number of cores.

Small matrix products do not speed up with threads, and the number of threads moves their last bits.
"""

import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from time import sleep
from typing import Any

import joblib
from threadpoolctl import threadpool_limits

from jam.errors import InputError


def processes() -> int:
    """How many processes to take: JAM_WORKERS of the environment, else one a core, at most 8.

    Raises:
        InputError: JAM_WORKERS is not a whole number of at least 1.
    """
    asked = os.environ.get("JAM_WORKERS", str(min(joblib.cpu_count(), 8)))
    if not asked.isdecimal() or int(asked) < 1:
        raise InputError(f"JAM_WORKERS: got {asked!r} in the environment, expected a whole number of at least 1")
    return int(asked)


def in_processes(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """What the function gives for each of the arguments, as it comes; in this process if there is but one worker."""
    if workers > 1 and _copies():
        yield from _in_copies(function, calls, workers)
        return
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        pool = joblib.Parallel(workers, return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)
        yield from pool(joblib.delayed(_one_thread)(os.getpid(), function, call) for call in calls)


def _copies() -> bool:
    """Whether everything is imported here already (`stages.warm`), so that copies of this process need not do so again.

    One that has used a GPU cannot be copied.
    """
    used = "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized()
    return "JAM_FORK" in os.environ and not used


def _in_copies(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """As `in_processes`. What goes to and fro is pickled here: multiprocessing would put tensors into shared memory."""
    pool = ProcessPoolExecutor(workers, mp_context=get_context("fork"), initializer=_one_thread_for_good)
    waiting: set[Future[bytes]] = set()
    try:
        for call in calls:
            if len(waiting) == workers:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (pickle.loads(each.result()) for each in done)
            waiting.add(pool.submit(_pickled, pickle.dumps((os.getpid(), function, call))))
        yield from (pickle.loads(each.result()) for each in as_completed(waiting))
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread_for_good() -> None:
    """The threads of OpenMP are not in a copy, and waiting for them would never end."""
    sys.modules["torch"].set_num_threads(1)
    threadpool_limits(1)


def _pickled(told: bytes) -> bytes:
    return pickle.dumps(_one_thread(*pickle.loads(told)))


def _one_thread(caller: int, function: Callable[..., Any], call: tuple[Any, ...]) -> Any:
    if os.getpid() != caller:
        _follow(os.getppid())
    with one_thread():
        return function(*call)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a block with one thread, of torch and of the libraries under numpy."""
    import torch  # which a process that only hands work to others need not wait for

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


@cache
def _follow(parent: int) -> None:
    """End this process when the one that started it has ended, however that came about."""

    def watch() -> None:
        while os.getppid() == parent:
            sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
