"""What a space keeps of what is private to the views of each side: beside the frozen layer, and its mere whitening."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from jam.align.adapter import Adapter
from jam.align.blocks import Standardise
from jam.evaluation.scores import Key, Outcome, PerRow
from jam.metrics import preservation_rows, private_recall
from jam.metrics.private import Factors, Told
from jam.metrics.readout import SPLITS

FROZEN, WHITENED = "frozen", "whitened"
TRAIN = 4000  # training items that readouts are fitted on: the first so many
SHRINKAGE = 0.1  # of the whitening, in units of the mean variance: one for all spaces, so that its rows compare


@dataclass(frozen=True)
class Views:
    """The first views of some items of one side.

    Attributes:
        features: split → (n, d), frozen.
        private: split → factor → (n, columns).
    """

    features: Mapping[str, np.ndarray]
    private: Factors

    def validating(self) -> "Views":
        """The same, to be scored on validation rows: the last quarter of the train rows chooses penalties."""
        cut = len(self.features["train"]) * 3 // 4

        def parts(of: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"train": of["train"][:cut], "val": of["train"][cut:], "test": of["val"]}

        names = self.private["train"]
        private = {name: parts({split: np.asarray(self.private[split][name]) for split in SPLITS}) for name in names}
        return Views(parts(self.features), {split: {name: private[name][split] for name in names} for split in SPLITS})

    def told(self, adapter: Adapter | None = None, permutations: int = 0, seed: int = 0) -> dict[str, Told]:
        """What the latents of an adapter, or the frozen features, tell of the private factors, on test rows."""
        mapped = {split: adapter.encode(of) if adapter else of for split, of in self.features.items()}
        return private_recall(mapped, self.private, permutations, seed)


class Private:
    """What is read of the private factors of one side, from its frozen layer and from what adapters make of it.

    Args:
        side: its name.
        views: of train, val and test items.
        k: neighbours, for preservation.
        seed: of the permutations of the null.
    """

    def __init__(self, side: str, views: Views, k: int, seed: int = 0) -> None:
        self.side, self.views, self.k, self.seed = side, views, k, seed
        standardise = Standardise(views.features["train"].shape[1])
        standardise.fit(views.features["train"], shrinkage=SHRINKAGE)
        whitened = {split: standardise(torch.as_tensor(of)).numpy() for split, of in views.features.items()}
        self.frozen = self._read(views.features)
        self.whitened = self._read(whitened)
        self.preserved = preservation_rows(views.features["test"], whitened["test"], k)

    def outcomes(self, adapter: Adapter) -> dict[Key, Outcome]:
        """Of each factor and their ``mean`` the share that latents tell, and its difference from the frozen layer's.

        Also what is the same for all adapters: the shares of the frozen layer and of its whitening, and, beside
        ``preservation``, how much of the neighbourhoods the whitening alone preserves.
        """
        latent = self._read({split: adapter.encode(self.views.features[split]) for split in SPLITS})
        found: dict[Key, Outcome] = {}
        for label, told in latent.items():
            key = Key("private", self.side, label=label)
            frozen = self.frozen[label]
            found[key] = _per_row(told, frozen.value)
            found[replace(key, against=FROZEN)] = PerRow(told.rows - frozen.rows, np.arange(len(told.rows)))
            found[replace(key, condition=FROZEN)] = _per_row(frozen)
            found[replace(key, condition=WHITENED)] = _per_row(self.whitened[label])
        key = Key("preservation_whitened", self.side, k=self.k)
        return found | {key: PerRow(self.preserved, np.arange(len(self.preserved)))}

    def _read(self, features: Mapping[str, np.ndarray]) -> dict[str, Told]:
        return private_recall(features, self.views.private, seed=self.seed)


def _per_row(told: Told, ceiling: float | None = None) -> PerRow:
    null = float(np.quantile(told.null, 0.95)) if len(told.null) else None
    return PerRow(told.rows, np.arange(len(told.rows)), null=null, ceiling=ceiling)
