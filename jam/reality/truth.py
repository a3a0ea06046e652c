"""What is known of the items that representations are held against: states, factors, what to hold constant."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from jam.data.schema import ITEMS, VIEWS, read_table
from jam.metrics.readout import SPLITS, Floats
from jam.metrics.reality import StateReadout
from jam.world.habitats import Habitats
from jam.world.state import MOST, States, bound, counts_of, factors, facts, states_of_facts

TRAIN = 4000  # training items: the first so many, of which checkpoints and further seeds have features too
ROUNDING = 1e-9  # of a PMI, in nats
EXPECTED = "expected"  # the factor of `Habitats.expected_products`


@dataclass(frozen=True)
class Truth:
    """Items of three splits, and all that is made of their states but once, to serve every representation.

    Attributes:
        ids: split → (n,) their ids.
        states: split → (n, 6).
        habitats: the statistics that they were drawn from.
        lengths: number of a view → split → (n,) words of that caption of each item, of val and test items; empty
            where nothing is told.
        factors: split → name → columns: `jam.world.state.factors`, and what the bag leads one to expect of products.
        readout: of facts and all products of two attributes of one thing.
        pmi: (m, m) the world's own kernel of the test items; None where nothing co-occurs and it is 0 throughout.
    """

    ids: Mapping[str, npt.NDArray[np.object_]]
    states: Mapping[str, States]
    habitats: Habitats
    lengths: Mapping[int, Mapping[str, Floats]]
    factors: Mapping[str, Mapping[str, Floats]]
    readout: StateReadout
    pmi: Floats | None

    @classmethod
    def of(
        cls,
        ids: Mapping[str, npt.NDArray[np.object_]],
        states: Mapping[str, States],
        habitats: Habitats,
        lengths: Mapping[int, Mapping[str, Floats]],
    ) -> "Truth":
        """Make of the states what is made of them."""
        known = {}
        for split, some in states.items():
            told: dict[str, Floats] = {name: columns.astype(np.float64) for name, columns in factors(some).items()}
            known[split] = told | {EXPECTED: habitats.expected_products(some)}
        readout = StateReadout(*({split: make(some) for split, some in states.items()} for make in (facts, bound)))
        pmi = habitats.pmi_kernel(states["test"])
        return cls(ids, states, habitats, lengths, known, readout, pmi if np.ptp(pmi) > ROUNDING else None)

    def kernel_factors(self, split: str) -> dict[str, Floats]:
        """The factors that a kernel of reality is made of."""
        return {name: columns for name, columns in self.factors[split].items() if name != EXPECTED}

    def held(self, split: str, modality: str, view: int = 0) -> tuple[str, Floats]:
        """What is trivial and drives kernels, with its name: how many things, and how many words a caption has.

        Args:
            split: val or test.
            modality: only of texts the length counts.
            view: number of the caption.

        Returns:
            The name and covariates (n, c).
        """
        counts = (counts_of(self.states[split])[:, None] == np.arange(1, MOST + 1)).astype(np.float64)
        if modality != "text" or view not in self.lengths:
            return "count", counts
        return "count and length", np.concatenate([counts, self.lengths[view][split][:, None]], axis=1)


def read_truth(world: str | Path, habitats: Habitats, train: int = TRAIN) -> Truth:
    """Read states, and lengths of the first two captions of val and test items.

    Raises:
        InputError: a table is missing.
    """
    items = read_table(Path(world) / ITEMS, ["id", "split", "state"])
    ids, states = {}, {}
    for split in SPLITS:
        mine = items.filter(pc.equal(items.column("split"), split)).slice(0, train if split == "train" else None)
        ids[split] = mine.column("id").to_numpy()
        states[split] = states_of_facts(np.array(mine.column("state").to_pylist(), np.float32))
    return Truth.of(ids, states, habitats, _lengths(Path(world), ids))


def _lengths(world: Path, ids: Mapping[str, npt.NDArray[np.object_]]) -> dict[int, dict[str, Floats]]:
    path = world / VIEWS / "text.parquet"
    if not path.is_file():
        return {}
    table = read_table(path, ["id", "split", "role", "k", "content"])
    wanted = pc.and_(pc.equal(table.column("role"), "true"), pc.not_equal(table.column("split"), "train"))
    lines = table.filter(pc.and_(wanted, pc.less(table.column("k"), 2))).to_pandas()
    lines["words"] = [float(len(re.findall(r"\w+", text))) for text in lines["content"]]
    found = {}
    for view, mine in lines.groupby("k"):
        words = mine.set_index("id")["words"]
        if set(ids["val"]) | set(ids["test"]) <= set(words.index):
            found[int(str(view))] = {split: words[ids[split]].to_numpy() for split in ("val", "test")}
    return found
