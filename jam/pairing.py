"""Which feature rows belong together: images, their captions and their hard negatives."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from jam.errors import InputError
from jam.io import release
from jam.labels import Labels
from jam.models.blocks import upcast

CaptionPooling = Literal["sample", "mean", "max"]


@dataclass(frozen=True)
class Pairs:
    """One split of frozen features, as row numbers into two feature arrays that may be memory maps.

    Attributes:
        images: (rows, d_v) image features; row ``image_rows[i]`` is image i.
        texts: (rows, d_t) text features, captions and negatives alike.
        image_rows: (n,).
        caption_rows: (n, K), the captions of image i first, then −1 where it has fewer than K.
        negative_rows: (n, M), likewise, hard negatives only; M = 0 when there are none.
        labels: which captions are true of which other images; None where each is true of its own alone.
    """

    images: np.ndarray
    texts: np.ndarray
    image_rows: np.ndarray
    caption_rows: np.ndarray
    negative_rows: np.ndarray
    labels: Labels | None = None

    def __post_init__(self) -> None:
        n = len(self.image_rows)
        if not len(self.caption_rows) == len(self.negative_rows) == n:
            raise ValueError(
                f"pairs: got {n} images, {len(self.caption_rows)} caption rows and {len(self.negative_rows)} negative "
                "rows, expected equal numbers"
            )
        if n == 0 or (self.caption_rows[:, 0] < 0).any():
            raise ValueError(
                "pairs: got an image without a caption, expected at least one for each of at least one image"
            )

    def __len__(self) -> int:
        return len(self.image_rows)

    @property
    def has_negatives(self) -> bool:
        """Whether every image has a hard negative."""
        return self.negative_rows.shape[1] > 0 and bool((self.negative_rows[:, 0] >= 0).all())

    def flat_captions(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of all captions, and the image (0 … n−1) that each belongs to; both (total,)."""
        image, _ = present = np.nonzero(self.caption_rows >= 0)
        return self.caption_rows[present], image

    def mean_captions(self) -> np.ndarray:
        """The mean caption feature of each image, (n, d_t) in single precision, or double if the texts are."""
        return pool_rows(as_tensor(self.texts), torch.as_tensor(self.caption_rows), "mean").numpy()


def as_tensor(table: np.ndarray) -> Tensor:
    """A tensor over the array's own memory, which nothing here writes to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(table))


class Mapped:
    """A memory map that shall not become resident: rows are read some at a time, and pages given back in between.

    A read of one row maps as much as a huge page around it, so that a batch of random rows may hold gigabytes.
    """

    HUGE, BUDGET = 2**21, 2**29  # bytes that one row may map, and that all may at any moment

    def __init__(self, table: np.memmap) -> None:
        self._map, self._table = table, as_tensor(table)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """As of a tensor: rows (m,) → (m, d); ``dim`` is 0."""
        found = torch.empty(len(rows), self._table.shape[1], dtype=self._table.dtype)
        for part, out in zip(*(each.split(self.BUDGET // self.HUGE) for each in (rows, found)), strict=True):
            torch.index_select(self._table, dim, part, out=out)
            release(self._map)
        return found


Table = Tensor | Mapped


def on_device(table: np.ndarray, device: torch.device) -> Table:
    """The whole table on an accelerator; on the CPU the memory map itself, without a copy."""
    if device.type != "cpu":
        return torch.as_tensor(np.asarray(table), device=device)
    return Mapped(table) if isinstance(table, np.memmap) and table.nbytes > Mapped.BUDGET else as_tensor(table)


def pool_rows(table: Table, rows: Tensor, pooling: Literal["mean", "max"]) -> Tensor:
    """Pool groups of rows of ``table`` (r, d): rows (n, K) with −1 for "none" → (n, d), in fp32 or better.

    A group's missing members are left out of the mean and of the maximum.
    """
    present = (rows >= 0).unsqueeze(-1)
    gathered = upcast(table.index_select(0, rows.clamp(min=0).flatten())).view(*rows.shape, -1)
    if pooling == "max":
        return gathered.masked_fill(~present, -torch.inf).amax(dim=1)
    return (gathered * present).sum(dim=1) / present.sum(dim=1)


def draw(rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One member of each group, uniformly: (n, K) with −1 for "none" → (n,)."""
    counts = (rows >= 0).sum(axis=1)
    return np.take_along_axis(rows, generator.integers(0, counts)[:, None], axis=1)[:, 0]


def pair_rows(
    images: np.ndarray, image_index: pd.DataFrame, texts: np.ndarray, text_index: pd.DataFrame, split: str
) -> Pairs:
    """Join two feature arrays on the pair id, for one split.

    Args:
        images: (rows, d_v), described row by row by ``image_index`` (columns id, split, role, k, tier).
        texts: (rows, d_t), described by ``text_index``.
        split: ``train``, ``val`` or ``test``.

    Raises:
        InputError: an image without captions, or captions without an image.
    """
    image_rows = _numbered(image_index[image_index["split"] == split])
    texts_here = _numbered(text_index[text_index["split"] == split])
    ids = image_rows["id"].to_numpy()
    captions = texts_here[texts_here["role"] == "caption"]
    negatives = texts_here[(texts_here["role"] == "negative") & (texts_here["tier"] == "hard")]
    if set(ids) != set(captions["id"]):
        odd = sorted(set(ids) ^ set(captions["id"]))
        raise InputError(
            f"{split}: {len(odd)} ids have an image or captions but not both (first: {odd[0]}); expected features "
            "of one and the same pairs table (run the features stage of both encoders)"
        )
    return Pairs(images, texts, image_rows["row"].to_numpy(), _grouped(captions, ids), _grouped(negatives, ids))


def _numbered(index: pd.DataFrame) -> pd.DataFrame:
    return index.assign(row=index.index.to_numpy())


def _grouped(index: pd.DataFrame, ids: np.ndarray) -> np.ndarray:
    """Rows of each id in the order of ``ids``, (n, most) int64, filled with −1 at the end."""
    position = pd.Series(np.arange(len(ids)), index=ids)
    group = position.loc[index["id"]].to_numpy()
    place = index.groupby("id", sort=False).cumcount().to_numpy()
    rows = np.full((len(ids), int(place.max(initial=-1)) + 1), -1, dtype=np.int64)
    rows[group, place] = index["row"].to_numpy()
    return rows


def one_row_each(index: pd.DataFrame, split: str) -> np.ndarray:
    """Rows of the images of a split, or of every image's first caption: one row for each pair, in their order."""
    here = (index["split"] == split) & (index["role"] != "negative") & (index["k"] == 0)
    return index.index[here].to_numpy()


def varies(features: np.ndarray) -> bool:
    """Whether any two rows (n, d) differ. The state of a CLS token before the first block does not, for one."""
    return bool((features != features[0]).any())


def negative_rows(text_index: pd.DataFrame, image_index: pd.DataFrame, split: str) -> pd.DataFrame:
    """Every false caption of a split beside the true one that it is to be compared with.

    Args:
        text_index: columns id, split, role, k, kind, tier, of.
        image_index: gives the order of the images.

    Returns:
        Columns image (0 … n−1, as in `pair_rows`), row, caption_row (of the caption it was made from), kind, tier.
    """
    ids = image_index.loc[image_index["split"] == split, "id"].to_numpy()
    texts = _numbered(text_index[text_index["split"] == split])
    captions = texts.loc[texts["role"] == "caption", ["id", "k", "row"]]
    negatives = texts.loc[texts["role"] == "negative", ["id", "of", "kind", "tier", "row"]]
    joined = negatives.merge(
        captions.rename(columns={"k": "of", "row": "caption_row"}), on=["id", "of"], validate="many_to_one"
    )
    joined["image"] = pd.Series(np.arange(len(ids)), index=ids).loc[joined["id"]].to_numpy()
    return joined[["image", "row", "caption_row", "kind", "tier"]]


def mismatched_rows(
    image_index: pd.DataFrame, text_index: pd.DataFrame, split: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Image rows, and for each of them a true caption, the same with one thing changed, and another scene's caption.

    Only images with a hard and an easy negative take part. Which of an image's hard negatives is taken rotates, so
    that all kinds occur; the true caption is the one that it was made from.

    Returns:
        Image rows (m,), and text rows (m,) by condition ``matched``, ``hard``, ``easy``; no conditions if m = 0.
    """
    rows = _numbered(image_index[image_index["split"] == split])["row"].to_numpy()
    negatives = negative_rows(text_index, image_index, split)
    hard, easy = (dict(list(negatives[negatives["tier"] == tier].groupby("image"))) for tier in ("hard", "easy"))
    images = sorted(set(hard) & set(easy))
    if not images:
        return rows[:0], {}
    taken = [hard[image].iloc[image % len(hard[image])] for image in images]
    return rows[images], {
        "matched": np.array([negative["caption_row"] for negative in taken]),
        "hard": np.array([negative["row"] for negative in taken]),
        "easy": np.array([easy[image].iloc[0]["row"] for image in images]),
    }
