"""Retrieval ranks: the engine against its own matrix product and against the textbook, as a markdown table.

    python -m benchmarks.retrieval [--quick] [--threads 2]

The full run ranks 5,000 images against 25,000 captions (the size of the COCO Karpathy test split) in both directions;
about two minutes on two cores, most of them the textbook's, which sorts the whole matrix and needs 2 GB for it.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jam.metrics.retrieval import IMAGE_TILE, TEXT_TILE, retrieval_ranks

FULL = ((1_000, 5_000, 512), (5_000, 25_000, 512))
QUICK = ((500, 2_500, 128), (1_000, 5_000, 512))
COLUMNS = (
    "images", "captions", "d", "product, s", "engine, s", "ratio", "textbook, s", "extra memory, MB", "equal ranks",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time retrieval ranks.")
    parser.add_argument("--quick", action="store_true", help="small sizes, a few seconds")
    parser.add_argument("--threads", type=int, default=2, help="of every method alike")
    options = parser.parse_args(argv)
    print(f"| {' | '.join(COLUMNS)} |\n|{' ---: |' * len(COLUMNS)}")
    for size in QUICK if options.quick else FULL:
        # A process for each size: the peak of memory is a figure of the whole process and never falls.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            row = pool.submit(measure, *size, options.threads).result()
        print(f"| {' | '.join(row)} |", flush=True)


def measure(n: int, m: int, d: int, threads: int) -> list[str]:
    """One row of the table."""
    torch.set_num_threads(threads)
    images, texts, image_of_text = embeddings(n, m, d)
    warm = min(n, 300)  # loads libraries, which are not the engine's memory
    retrieval_ranks(images[:warm], texts[:warm], np.arange(warm))

    before = peak_memory()
    ranks = retrieval_ranks(images, texts, image_of_text)
    extra = peak_memory() - before

    unit_images = torch.nn.functional.normalize(torch.from_numpy(images))
    unit_texts = torch.nn.functional.normalize(torch.from_numpy(texts))
    engine_times, product_times = [], []
    for _ in range(5):  # in turns, so that a busy machine slows both
        engine_times.append(seconds(lambda: retrieval_ranks(images, texts, image_of_text))[0])
        product_times.append(seconds(lambda: product(unit_images, unit_texts))[0])
    engine_time, product_time = min(engine_times), min(product_times)
    textbook_time, expected = seconds(lambda: textbook(unit_images, unit_texts, torch.from_numpy(image_of_text)))
    equal = np.mean(np.concatenate([got == want for got, want in zip(ranks, expected, strict=True)]))
    return [
        f"{n:,}",
        f"{m:,}",
        f"{d}",
        f"{product_time:.3f}",
        f"{engine_time:.3f}",
        f"{engine_time / product_time:.2f}",
        f"{textbook_time:.2f}",
        f"{extra / 1e6:.0f}",
        f"{equal:.2%}",
    ]


def embeddings(n: int, m: int, d: int) -> tuple[Any, Any, Any]:
    """Captions that are their images plus noise; filled in place, so that the inputs leave no peak of memory."""
    rng = np.random.default_rng(0)
    images, texts = np.empty((n, d), np.float32), np.empty((m, d), np.float32)
    rng.standard_normal(dtype=np.float32, out=images)
    rng.standard_normal(dtype=np.float32, out=texts)
    image_of_text = rng.permutation(np.arange(m) % n)
    for text, image in zip(texts, image_of_text, strict=True):
        text += 0.2 * images[image]
    return images, texts, image_of_text


def product(images: Tensor, texts: Tensor) -> None:
    """The engine's matrix product in the engine's tiles, and nothing else."""
    for left in range(0, len(images), IMAGE_TILE):
        for top in range(0, len(texts), TEXT_TILE):
            texts[top : top + TEXT_TILE] @ images[left : left + IMAGE_TILE].T


def textbook(images: Tensor, texts: Tensor, image_of_text: Tensor) -> tuple[Any, Any]:
    """Ranks by sorting every row of the full matrix; ties fall as the sort leaves them."""
    scores = images @ texts.T
    own = image_of_text[scores.argsort(dim=1, descending=True)] == torch.arange(len(images)).unsqueeze(1)
    i2t = own.int().argmax(dim=1) + 1
    del own
    t2i = (scores.T.argsort(dim=1, descending=True) == image_of_text.unsqueeze(1)).int().argmax(dim=1) + 1
    return i2t.numpy(), t2i.numpy()


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def peak_memory() -> int:
    """Highest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    main()
