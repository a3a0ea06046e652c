"""How fast is the layer-pair engine? Times as ratios within one run, so that they carry over to other machines.

    python -m benchmarks.kernels [--quick]

13 × 13 layers (d = 384 against 768) at n = 1,024 and 4,096, and 4 × 4 layers at n = 50,000 for the memory: some ten
minutes on two cores. With --quick n = 1,024 alone: seconds.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.harness import Options, Row, alone, best, chosen, parser, peak_mib, seconds, table
from jam.metrics import layer_alignment

WIDTHS = (384, 768)
COLUMNS = (
    "device", "n", "layers", "Gram, s", "engine, s", "engine / Gram", "CKNNA, s", "null, s", "textbook, s",
    "textbook / engine", "peak, MiB", "of it inputs, MiB",
)  # fmt: skip
TEXT = """## Kernel alignment of all layer pairs

Mutual kNN (k = 10), CKA and unbiased CKA of every layer of one encoder (d = 384) with every layer of another (d = 768).
Gram: the products X·Xᵀ of all layers by themselves, whole, one `torch.mm` each. CKNNA: what it adds. Null: what 200
permutations of the maximum over the layers add. Textbook: the definitions in plain torch, one layer pair after the
other; four pairs are timed, and the time scaled to all. Peak: of the engine's process, torch itself included (about
300 MiB); on a GPU, of what was allocated there. At n = 50,000 the engine runs alone, once, for its memory."""


def section(options: Options) -> str:
    """This benchmark's part of the table file."""
    return f"{TEXT}\n\n{table(COLUMNS, rows(options))}"


def rows(options: Options) -> Iterator[Row]:
    """The rows of the table, one after the other."""
    for device in options.devices:
        yield alone(against_floor, 1024, 13, 9, device)
        if not options.quick:
            yield alone(against_floor, 4096, 13, 3, device)
            yield alone(for_memory, 50_000, 4, device)


def against_floor(n: int, layers: int, repeats: int, device: str) -> Row:
    """A row with everything."""
    xs, ys = two_encoders(n, layers, device)
    inputs = peak_mib(device)

    def engine(*more: str, permutations: int = 0) -> None:
        layer_alignment(xs, ys, ("mutual_knn", "cka", "unbiased_cka", *more), permutations=permutations)

    engine()
    peak = peak_mib(device)
    product = torch.empty(n, n, device=device)

    def gram() -> None:
        for rows in (*xs, *ys):
            torch.mm(rows, rows.T, out=product)

    products, alone = best(repeats, gram, engine, device=device)
    few = max(1, repeats // 3)
    more, null = best(few, lambda: engine("cknna"), lambda: engine(permutations=200), device=device)
    twins = list(zip(xs, ys, strict=True))[:4]
    (textbook,) = best(few, lambda: [textbook_pair(x, y) for x, y in twins], device=device)
    textbook *= layers**2 / len(twins)
    return [
        device, f"{n:,}", f"{layers} × {layers}", f"{products:.3f}", f"{alone:.3f}", f"{alone / products:.2f}",
        f"{max(0, more - alone):.3f}", f"{max(0, null - alone):.3f}", f"{textbook:.2f}", f"{textbook / alone:.0f}",
        f"{peak:,.0f}", f"{inputs:,.0f}",
    ]  # fmt: skip


def for_memory(n: int, layers: int, device: str) -> Row:
    """A row with the engine alone."""
    xs, ys = two_encoders(n, layers, device)
    inputs = peak_mib(device)
    time = seconds(lambda: layer_alignment(xs, ys), device)
    peak = peak_mib(device)
    size = [device, f"{n:,}", f"{layers} × {layers}"]
    return [*size, "", f"{time:.1f}", "", "", "", "", "", f"{peak:,.0f}", f"{inputs:,.0f}"]


def two_encoders(n: int, layers: int, device: str) -> tuple[list[Tensor], list[Tensor]]:
    """Layers that see a shared part through random maps, each with noise of its own."""
    generator = torch.Generator(device).manual_seed(0)
    rank = 32
    shared = torch.randn(n, rank, generator=generator, device=device)

    def layer(width: int) -> Tensor:
        seen = torch.randn(rank, width, generator=generator, device=device)
        return torch.randn(n, width, generator=generator, device=device).mul_(3).addmm_(shared, seen)

    x_width, y_width = WIDTHS
    return [layer(x_width) for _ in range(layers)], [layer(y_width) for _ in range(layers)]


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


if __name__ == "__main__":
    print(section(chosen(parser(__doc__).parse_args())))
