"""Adapters that read all tokens: what a step of training and encoding cost, beside what they find.

    python -m benchmarks.resampler [--quick]

A minute on two cores. Reads params.yaml and metrics/siblings/resampler/ of the checkout.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Options, Row, best, chosen, parser, table
from jam.align.blocks import Standardise
from jam.features.ragged import Ragged
from jam.params import load_params
from jam.params.resampler import Resampling
from jam.report.labels import label
from jam.report.resampler_tables import ASKED
from jam.report.tables import number
from jam.resampler.train import Losses, adapters_of
from jam.results import read_results, select

BATCH, ITEMS = 128, 512
SIDES: dict[str, tuple[int, tuple[int, int], tuple[int, int] | None]] = {  # width, tokens from … to, grid
    "image": (96, (24, 24), (4, 6)),
    "text": (384, (12, 34), None),
}
COLUMNS = (
    "variant",
    "R@1 (mean of both ways)",
    "swaps",
    "a step of training, ms",
    "encoding 512 pairs, ms",
    "× the mean of tokens",
)
TEXT = f"""## Adapters that read tokens

The variants of the stage `resampler`, quality as in metrics/README.md beside the time of a step of training ({BATCH}
pairs of 24 tokens × 96 and of 12 to 34 × 384, forward, backward and Adam) and of encoding."""


def section(options: Options) -> str:
    """This benchmark's part of the table file."""
    return f"{TEXT}\n\n{table(COLUMNS, rows(options))}"


def rows(options: Options) -> Iterator[Row]:
    """A row a variant."""
    of, spec = next(iter(load_params().resampler.items()))
    found = select(read_results([Path("metrics/siblings/resampler") / of / "scores.csv"]), seed=None, against=None)
    names = list(spec.variants)[: 2 if options.quick else None]
    times = {name: measure(spec.variant(name), "cpu") for name in names}
    floor = times.get("mean_pool", next(iter(times.values())))
    for name, (step, encode) in times.items():
        mine = select(found, subject=name)
        quality = [number(float(select(mine, **ASKED[what])["value"].mean())) for what in list(ASKED)[:3:2]]
        yield [label(name), *quality, f"{1000 * step:.0f}", f"{1000 * encode:.0f}", f"{step / floor[0]:.1f}"]


def measure(recipe: Resampling, device: str) -> tuple[float, float]:
    """Seconds of a step of training, and of encoding."""
    rng = np.random.default_rng(0)
    tokens = {side: _tokens(rng, width, *ends) for side, (width, ends, _) in SIDES.items()}
    known = {side: Standardise(width) for side, (width, *_) in SIDES.items()}
    for side, constants in known.items():
        constants.fit(tokens[side].tokens, None, 1.0)
    adapters = adapters_of(recipe, known, {side: grid for side, (*_, grid) in SIDES.items()})
    parameters = list(torch.nn.ModuleDict(adapters).parameters())
    optimizer, losses = torch.optim.Adam(parameters, fused=True), Losses.of(recipe, 0.07)
    batch = {side: [torch.from_numpy(each) for each in of[np.arange(BATCH)].flat()] for side, of in tokens.items()}

    def step() -> None:
        optimizer.zero_grad()
        x, y = (adapters[side](*batch[side]) for side in SIDES)
        losses(x, y, None)["loss"].backward()
        optimizer.step()

    def encode() -> None:
        for side, adapter in adapters.items():
            adapter.encode(tokens[side])

    one, many = best(5, step, encode, device=device)
    return one, many


def _tokens(rng: np.random.Generator, width: int, least: int, most: int) -> Ragged:
    return Ragged.of([rng.normal(size=(n, width)).astype(np.float32) for n in rng.integers(least, most + 1, ITEMS)])


if __name__ == "__main__":
    print(section(chosen(parser(__doc__).parse_args())))
