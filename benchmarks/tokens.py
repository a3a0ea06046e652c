"""Sequences of tokens: attention of a few latents to them against attention among them, and reading them in an epoch.

    python -m benchmarks.tokens [--quick]

Two minutes on two cores, and 1.5 GB of disk in the temporary folder while it runs.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import scaled_dot_product_attention as attention

from benchmarks.harness import Options, Row, alone, best, chosen, parser, peak_mib, seconds, table
from jam.features import TokenStore
from jam.features.tokens import TOKENS

BATCH, HEADS, WIDTH, LATENTS = 8, 8, 64, 64
LENGTHS = (50, 197, 500, 1500)
COLUMNS = ("device", "tokens", "cross, ms", "self, ms", "self / cross", "products, self / cross")
EPOCH = ("items × tokens × width", "on disk, GB", "one epoch, s", "peak, MiB", "of it before, MiB")
TEXT = f"""## Tokens

{LATENTS} latents that attend to T tokens, O(K·T), against the T tokens attending to each other, O(T²): {HEADS} heads of
{WIDTH}, a batch of {BATCH}, forward alone."""
READ = """One epoch over tokens in float16, in batches of 128 in random order, as `TokenStore.sequences` gives them.
Pages that were read are given back at each batch, so the peak is of a batch and not of the file, however large that is:
of a million items × 50 tokens × 768, 76.8 GB, a batch touches at most 128 huge pages of 2 MiB and holds 128 × 50 × 768
× 4 bytes, 0.3 GiB in all, beside 16 bytes of span an item and its line of the index."""


def section(options: Options) -> str:
    """This benchmark's part of the table file."""
    read = table(EPOCH, [alone(epoch, 2_000 if options.quick else 20_000)])
    return f"{TEXT}\n\n{table(COLUMNS, rows(options))}\n\n{READ}\n\n{read}"


def rows(options: Options) -> Iterator[Row]:
    """The rows of the first table."""
    for device in options.devices:
        for length in LENGTHS[:2] if options.quick else LENGTHS:
            yield alone(measure, device, length)


def measure(device: str, length: int) -> Row:
    """One row of the first table."""
    tokens = torch.randn(BATCH, HEADS, length, WIDTH, device=device)
    latents = torch.randn(BATCH, HEADS, LATENTS, WIDTH, device=device)
    with torch.inference_mode():
        across, among = best(
            10, lambda: attention(latents, tokens, tokens), lambda: attention(tokens, tokens, tokens), device=device
        )
    return [
        device, f"{length:,}", f"{1000 * across:.2f}", f"{1000 * among:.2f}", f"{among / across:.1f}",
        f"{length / LATENTS:.1f}",
    ]  # fmt: skip


def epoch(items: int, tokens: int = 50, width: int = 768) -> Row:
    """The row of the second table."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / TOKENS
        file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(items * tokens, width))
        block = np.random.default_rng(0).standard_normal((tokens, width)).astype(np.float16)
        with path.open("r+b") as handle:  # not through the map, which would be resident
            handle.seek(file.offset)
            for _ in range(items):
                handle.write(block.tobytes())
        del file
        ends = tokens * np.arange(1, items + 1)
        index = pd.DataFrame({"row": np.arange(items)})
        opened = np.load(path, mmap_mode="r")
        store = TokenStore(Path(folder), {}, index, np.stack([ends - tokens, ends], axis=1), opened)
        order = np.random.default_rng(1).permutation(items)
        before = peak_mib()

        def read() -> None:
            for start in range(0, items, 128):
                store.sequences[order[start : start + 128]].padded()

        time, disk = seconds(read), path.stat().st_size / 1e9
    return [f"{items:,} × {tokens} × {width}", f"{disk:.1f}", f"{time:.1f}", f"{peak_mib():,.0f}", f"{before:,.0f}"]


if __name__ == "__main__":
    print(section(chosen(parser(__doc__).parse_args())))
