"""What does the training loop cost beside its bare modules?

    python -m benchmarks.training [--quick]

Synthetic features of 8,000 pairs (d = 512 and 384), read from memory maps as in the pipeline; two minutes on two cores.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Options, Row, alone, best, chosen, parser, table
from jam.align.items import Items, SideRows
from jam.align.objective import Joint, parameter_groups
from jam.align.setting import first, listed
from jam.align.train import train
from jam.params import Objective, Training

SCHEDULE = Training(
    criterion="mean", batch_size=128, epochs=1, patience=9, weight_decay=(1e-4,), clip_norm=1.0, temperature=0.07,
    learn_temperature=False,
    whitening=(0.1,), captions="sample",
)  # fmt: skip
SIZES = {"512 → 256": ((512,), 256), "128 → 24": ((128,), 24)}
LOOP = ("device", "hidden → latent", "bare, ms a step", "loop, ms a step", "loop / bare")
TEXT = """## Training

The loop against its floor: forward, backward, clip-free Adam step of the same two autoencoders with the Spread loss on
batches of 128 that were gathered beforehand. The loop adds reading the rows from memory maps, drawing captions and
negatives, clipping, the schedules and the sums of the losses. Its time is that of three epochs less that of one, so
that setting up is not in it; validation has 16 rows."""


def section(options: Options) -> str:
    """This benchmark's part of the table file."""
    return f"{TEXT}\n\n{table(LOOP, loops(options))}"


def loops(options: Options) -> Iterator[Row]:
    """The loop against its floor."""
    for device in options.devices:
        for size in SIZES if not options.quick else list(SIZES)[1:]:
            yield alone(loop_against_floor, size, 2 if options.quick else 5, device)


def loop_against_floor(size: str, repeats: int, device: str) -> Row:
    """A row of the first table."""
    with tempfile.TemporaryDirectory() as folder:
        items, validation = data(8000, Path(folder) / "train"), data(16, Path(folder) / "val")
        objective = spread(size)
        steps = -(-len(items) // SCHEDULE.batch_size)
        joint = (
            Joint(objective, SCHEDULE, first(listed(objective, SCHEDULE)), items, [("image", "text")], 0)
            .to(device)
            .train()
        )
        optimiser = torch.optim.Adam(parameter_groups(joint), lr=1e-3, weight_decay=1e-4, fused=True)
        v, t, q = (torch.randn(SCHEDULE.batch_size, d, device=device) for d in (512, 384, 384))

        def bare() -> None:
            for _ in range(2 * steps):
                align, rebuild = joint({"image": v, "text": t}, {"text": q}, {"image": v, "text": t}, {}, alpha=0.5)
                optimiser.zero_grad(set_to_none=True)
                (align + 0.5 * rebuild).backward()
                optimiser.step()

        def epochs(number: int) -> None:
            schedule = SCHEDULE.model_copy(update={"epochs": number})
            train(items, validation, objective, schedule, seed=0, device=device)

        floor, one, three = best(repeats, bare, lambda: epochs(1), lambda: epochs(3), device=device)
    loop = three - one
    scale = 1000 / (2 * steps)
    return [device, size, f"{floor * scale:.2f}", f"{loop * scale:.2f}", f"{loop / floor:.2f}"]


def spread(size: str) -> Objective:
    """An autoencoder of one of the sizes, with the Spread loss."""
    hidden, latent = SIZES[size]
    return Objective(
        model="autoencoder", loss="spread", latent=(latent,), hidden=hidden, dropout=(0.1,), learning_rate=1e-3,
        reconstruction=(1.0, 0.1), alphas=((0.5, 0.5),),
    )  # fmt: skip


def data(n: int, folder: Path) -> Items:
    """Random features behind memory maps: n images, two captions and two hard negatives each."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    tables = []
    for name, height, width in (("images", n, 512), ("texts", 4 * n, 384)):
        np.save(folder / f"{name}.npy", rng.standard_normal((height, width), dtype=np.float32))
        tables.append(np.load(folder / f"{name}.npy", mmap_mode="r"))
    rows = np.arange(4 * n).reshape(n, 4)
    image = SideRows(tables[0], np.arange(n)[:, None], np.empty((n, 0), int))
    return Items({"image": image, "text": SideRows(tables[1], rows[:, :2], rows[:, 2:])})


if __name__ == "__main__":
    print(section(chosen(parser(__doc__).parse_args())))
