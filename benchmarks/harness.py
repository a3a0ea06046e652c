"""What all benchmarks share: their options, times taken in turns, peaks of memory, markdown tables."""

import argparse
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Row = list[str]


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        devices: "cpu", "cuda" or both, each with rows of its own.
        quick: small sizes, in seconds and for a look alone.
    """

    devices: tuple[str, ...] = ("cpu",)
    quick: bool = False


def parser(description: str | None) -> argparse.ArgumentParser:
    """Command line of a benchmark, for `chosen`."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--quick", action="store_true", help="small sizes, for a look")
    found.add_argument("--device", choices=("cpu", "cuda"), help="by default the CPU, and a GPU where there is one")
    return found


def chosen(arguments: argparse.Namespace) -> Options:
    """Options from the command line."""
    everything = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    devices = (arguments.device,) if arguments.device else everything
    return Options(devices, arguments.quick)


def alone(measure: Callable[..., Row], *arguments: Any) -> Row:
    """Call in a process of its own: the peak of memory is a figure of the whole process and never falls."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def seconds(run: Callable[[], object], device: str = "cpu") -> float:
    """Time of one run, to the end of what it has started on the device."""
    wait(device)
    start = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - start


def best(repeats: int, *runs: Callable[[], object], device: str = "cpu") -> list[float]:
    """Least time of each run, all taken in turns so that a busy machine slows all, after one round to warm up."""
    rounds = [[seconds(run, device) for run in runs] for _ in range(repeats + 1)]
    return [min(times) for times in zip(*rounds[1:], strict=True)]


def wait(device: str) -> None:
    """Wait for the device to be done."""
    if device == "cuda":
        torch.cuda.synchronize()


def peak_mib(device: str = "cpu") -> float:
    """Largest resident memory of this process so far, or largest allocation on the GPU; in MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def table(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """A markdown table; the rows also go to stderr, each as soon as it is there."""
    lines = [f"| {' | '.join(columns)} |", f"|{' ---: |' * len(columns)}"]
    for row in rows:
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def machine() -> str:
    """One line that says what the times were taken on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    line = (
        f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads used, {memory:.0f} GiB of memory, torch {torch.__version__}"
    )
    return f"{line}; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else line
