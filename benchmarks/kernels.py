"""How fast is the layer-pair engine? Times as ratios within one run, so that they carry over to other machines.

    python -m benchmarks.kernels             13 × 13 layers (d = 384 against 768) at n = 1,024 and 4,096; a minute
    python -m benchmarks.kernels --quick     n = 1,024 alone; seconds
    python -m benchmarks.kernels --large     4 × 4 layers at n = 20,000, for the memory; minutes

Columns: the Gram products XXᵀ of all layers by themselves; the engine for mutual kNN, CKA and unbiased CKA of all layer
pairs, and its ratio to them; what CKNNA adds, and what the 200-permutation null of the maximum adds; the textbook way,
one layer pair after the other (four pairs are timed and scaled to all); and the peak memory of the process, of which
torch itself and the features. Every time is the best of several, the two of a ratio in alternation.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from jam.metrics import layer_alignment

COLUMNS = ("n", "layers", "Gram", "engine", "ratio", "+CKNNA", "+null", "textbook", "textbook/engine", "peak", "inputs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="n = 1,024 alone")
    parser.add_argument("--large", action="store_true", help="4 x 4 layers at n = 20,000, without null and textbook")
    args = parser.parse_args()
    cases = [(1024, 13, 5)] if args.quick else [(20_000, 4, 1)] if args.large else [(1024, 13, 9), (4096, 13, 3)]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), seconds and MiB\n")
    print("| " + " | ".join(COLUMNS) + " |\n|" + " ---: |" * len(COLUMNS))
    for case in cases:
        # A process of its own for each case: the peak of memory only ever grows.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print("| " + " | ".join(pool.apply(measure, case)) + " |", flush=True)


def measure(n: int, layers: int, repeats: int) -> list[str]:
    """One row of the table."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(n, 32, generator=generator)  # what the two encoders have in common
    xs, ys = (make_layers(shared, layers, width, generator) for width in (384, 768))
    inputs = peak_mib()
    large = n > 10_000

    def engine(*more: str, permutations: int = 0) -> None:
        layer_alignment(xs, ys, ("mutual_knn", "cka", "unbiased_cka", *more), permutations=permutations)

    if large:
        engine()
        peak = peak_mib()
    product = torch.empty(n, n) if not large else torch.empty(2000, n)

    def gram() -> None:
        for layer in (*xs, *ys):
            for rows in layer.split(len(product)):
                torch.mm(rows, layer.T, out=product[: len(rows)])

    products, alone = best(repeats, gram, engine)
    row = [f"{n:,}", f"{layers} × {layers}", f"{products:.2f}", f"{alone:.2f}", f"{alone / products:.2f}"]
    if large:
        return [*row, "", "", "", "", f"{peak:.0f}", f"{inputs:.0f}"]
    peak = peak_mib()
    more, null = best(max(1, repeats // 3), lambda: engine("cknna"), lambda: engine(permutations=200))
    twins = [(xs[i], ys[i]) for i in range(4)]
    (textbook,) = best(1, lambda: [textbook_pair(x, y) for x, y in twins])
    textbook *= layers**2 / len(twins)
    row += [f"{more - alone:.2f}", f"{null - alone:.2f}", f"{textbook:.1f}", f"{textbook / alone:.0f}"]
    return [*row, f"{peak:.0f}", f"{inputs:.0f}"]


def make_layers(shared: Tensor, layers: int, width: int, generator: torch.Generator) -> list[Tensor]:
    """Layers that see the shared part through a random map, each with noise of its own."""
    n, rank = shared.shape
    return [
        shared @ torch.randn(rank, width, generator=generator) + 3 * torch.randn(n, width, generator=generator)
        for _ in range(layers)
    ]


def textbook_pair(x: Tensor, y: Tensor, k: int = 10) -> tuple[float, float, float]:
    """Mutual kNN, CKA and unbiased CKA of one pair of layers, as the definitions read."""
    x, y = x / x.norm(dim=1, keepdim=True), y / y.norm(dim=1, keepdim=True)
    n = len(x)
    lists = [(rows @ rows.T).fill_diagonal_(-torch.inf).topk(k).indices for rows in (x, y)]
    shared = (lists[0][:, :, None] == lists[1][:, None, :]).sum() / (n * k)
    kernels = [(rows - rows.mean(0)) @ (rows - rows.mean(0)).T for rows in (x, y)]
    biased = [(a * b).sum() for a, b in pairs(*kernels)]
    hollow = [kernel.clone().fill_diagonal_(0) for kernel in kernels]
    unbiased = [
        (a * b).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (a.sum(0) @ b.sum(0))
        for a, b in pairs(*hollow)
    ]
    first, second = (float(both / (one * two).sqrt()) for one, two, both in (biased, unbiased))
    return float(shared), first, second


def pairs(a: Tensor, b: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(a, a), (b, b), (a, b)]


def best(repeats: int, *runs: Callable[[], object]) -> list[float]:
    """Least time of each run, all taken in turn after one round to warm up."""
    times = [float("inf")] * len(runs)
    for repeat in range(repeats + 1):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            if repeat > 0 or repeats == 1:
                times[i] = min(times[i], time.perf_counter() - start)
    return times


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
