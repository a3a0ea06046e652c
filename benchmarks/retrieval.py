"""Retrieval ranks: the engine against its own matrix product and against the textbook.

    python -m benchmarks.retrieval [--quick]

The full run ranks 5,000 images against 25,000 captions (the size of the COCO Karpathy test split) in both directions;
about two minutes on two cores, most of them the textbook's, which sorts the whole matrix and needs 2 GB for it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.harness import Options, Row, alone, best, chosen, parser, peak_mib, seconds, table
from jam.metrics.retrieval import IMAGE_TILE, TEXT_TILE, retrieval_ranks

QUICK = ((500, 2_500, 128), (1_000, 5_000, 512))
FULL = ((1_000, 5_000, 512), (5_000, 25_000, 512))
COLUMNS = (
    "device", "images", "captions", "d", "product, s", "engine, s", "engine / product", "textbook, s",
    "textbook / engine", "equal ranks", "extra memory, MB",
)  # fmt: skip
TEXT = """## Retrieval in both directions

Ranks of the right captions for every image and of the right image for every caption. Product: the engine's matrix
product in the engine's tiles, and nothing else. Textbook: the whole matrix, sorted once by rows and once by columns.
Its ranks differ where single precision orders two scores otherwise than double precision. Collapsed: all embeddings
equal, so that every comparison is a tie and has to be decided in double precision; a sort has no answer to that. Extra
memory: peak above the inputs."""


def section(options: Options) -> str:
    """This benchmark's part of the table file."""
    return f"{TEXT}\n\n{table(COLUMNS, rows(options))}"


def rows(options: Options) -> Iterator[Row]:
    """The rows of the table, one after the other."""
    sizes = QUICK if options.quick else FULL
    for device in options.devices:
        for size in sizes:
            yield alone(measure, *size, False, device)
        yield alone(measure, *sizes[-1], True, device)


def measure(n: int, m: int, d: int, collapsed: bool, device: str) -> Row:
    """One row of the table."""
    images, texts, owner = embeddings(n, m, d, collapsed, device)
    warm = min(n, 300)  # loads libraries, which are not the engine's memory
    retrieval_ranks(images[:warm], texts[:warm], torch.arange(warm))

    before = peak_mib(device)
    ranks = retrieval_ranks(images, texts, owner)
    extra = (peak_mib(device) - before) * 2**20 / 1e6

    unit_images, unit_texts = torch.nn.functional.normalize(images), torch.nn.functional.normalize(texts)
    engine, floor = best(
        5, lambda: retrieval_ranks(images, texts, owner), lambda: product(unit_images, unit_texts), device=device
    )
    row = [device, f"{n:,}", f"{m:,}", f"{d}", f"{floor:.3f}", f"{engine:.3f}", f"{engine / floor:.2f}"]
    if collapsed:
        return [*row, "", "", "collapsed", f"{extra:.0f}"]
    expected: list[Tensor] = []
    textbook_time = seconds(lambda: expected.extend(textbook(unit_images, unit_texts, owner)), device)
    found = [torch.from_numpy(side) for side in ranks]
    equal = float((torch.cat(found) == torch.cat(expected).cpu()).double().mean())
    return [*row, f"{textbook_time:.2f}", f"{textbook_time / engine:.0f}", f"{equal:.2%}", f"{extra:.0f}"]


def embeddings(n: int, m: int, d: int, collapsed: bool, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Captions that are their images plus noise; made in place, so that the inputs leave no peak of memory."""
    generator = torch.Generator().manual_seed(0)
    owner = torch.arange(m)[torch.randperm(m, generator=generator)] % n
    if collapsed:
        direction = torch.randn(d, generator=generator)
        return direction.repeat(n, 1).to(device), direction.repeat(m, 1).to(device), owner.to(device)
    images, texts = torch.randn(n, d, generator=generator), torch.randn(m, d, generator=generator)
    for text, image in zip(texts, owner, strict=True):
        text += 0.2 * images[image]
    return images.to(device), texts.to(device), owner.to(device)


def product(images: Tensor, texts: Tensor) -> None:
    """The engine's matrix product in the engine's tiles, and nothing else."""
    for left in range(0, len(images), IMAGE_TILE):
        for top in range(0, len(texts), TEXT_TILE):
            texts[top : top + TEXT_TILE] @ images[left : left + IMAGE_TILE].T


def textbook(images: Tensor, texts: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Ranks by sorting every row of the full matrix; ties fall as the sort leaves them."""
    scores = images @ texts.T
    own = owner[scores.argsort(dim=1, descending=True)] == torch.arange(len(images), device=owner.device).unsqueeze(1)
    i2t = own.int().argmax(dim=1) + 1
    del own
    t2i = (scores.T.argsort(dim=1, descending=True) == owner.unsqueeze(1)).int().argmax(dim=1) + 1
    return i2t, t2i


if __name__ == "__main__":
    print(section(chosen(parser(__doc__).parse_args())))
