"""Token sequences of different lengths, as one table whose rows are sequences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jam.errors import InputError
from jam.io import release

if TYPE_CHECKING:
    from jam.encoders import Encoder

Lengths = npt.NDArray[np.int64]
BUDGET = 3 * 2**28  # bytes of a map that may be resident after a read: two sides stay below 2 GiB


@dataclass(frozen=True)
class Ragged:
    """n sequences of tokens; indexed by rows as a table of features is, so that the same code chooses among both.

    Attributes:
        tokens: (total, d), perhaps a memory map.
        spans: (n, 2), first and one past the last token of each sequence.
    """

    tokens: np.ndarray
    spans: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray]) -> "Ragged":
        """Of arrays (t, d).

        Raises:
            InputError: no sequence, one without a token, or of another width, named by its position.
        """
        arrays = [np.asarray(each) for each in sequences]
        width = next((array.shape[1] for array in arrays if array.ndim == 2), 0)
        for i, array in enumerate(arrays):
            if array.ndim != 2 or not len(array) or array.shape[1] != width:
                raise InputError(f"tokens: item {i} has shape {array.shape}, expected (t, {width}) with t at least 1")
        if not arrays:
            raise InputError("tokens: got no item, expected at least one")
        ends = np.cumsum([len(array) for array in arrays])
        return cls(np.concatenate(arrays), np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1))

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self.spans), self.tokens.shape[1]

    @property
    def lengths(self) -> Lengths:
        """(n,) tokens of each."""
        return (self.spans[:, 1] - self.spans[:, 0]).astype(np.int64)

    def __getitem__(self, rows: Any) -> "Ragged":
        return Ragged(self.tokens, self.spans[np.atleast_1d(rows) if not isinstance(rows, slice) else rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All tokens, one sequence after the other."""
        return np.asarray(self.tokens[self.rows()], dtype=dtype)

    def rows(self) -> Lengths:
        """Of all tokens of the sequences the rows in `tokens`."""
        starts, lengths = self.spans[:, 0], self.lengths
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.repeat(starts, lengths) + within

    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """All tokens one after the other, for what need not see padding; pages of a large memory map are given back.

        Returns:
            (total, d) as they are stored, and (n, t) booleans, true on the real tokens of each where the longest has t.
        """
        real = np.arange(self.lengths.max(initial=0)) < self.lengths[:, None]
        found = np.asarray(self.tokens).take(self.rows(), axis=0)
        if self.tokens.nbytes > BUDGET:
            release(self.tokens)
        return found, real

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of each sequence, as long as the longest.

        Returns:
            (n, t, d), zeros on padding, float32, or double precision as it is; and (n, t) booleans, true on real
            tokens.
        """
        tokens, real = self.flat()
        found = np.zeros((*real.shape, self.tokens.shape[1]), dtype=np.promote_types(self.tokens.dtype, np.float32))
        found[real] = tokens
        return found, real

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """Rows in batches of about equal length, so that little is padding; together each row once."""
        order = np.argsort(-self.lengths, kind="stable")
        for start in range(0, len(order), size):
            yield order[start : start + size]


def encode_tokens(encoder: "Encoder", items: Any, layer: int, batch_size: int = 64) -> Ragged:
    """All tokens of one layer of images or texts, as `Encoder.encode` takes them."""
    from jam.encoders.items import listed, opened

    given = listed(items, encoder.modality)
    if not given:
        return Ragged(np.empty((0, encoder.dims[layer]), np.float32), np.empty((0, 2), np.int64))
    found: dict[int, np.ndarray] = {}
    for rows in encoder.batches(given, batch_size):
        batch = [opened(given[row], row) if encoder.modality == "image" else given[row] for row in rows]
        tokens, real = (each.cpu().numpy() for each in encoder.token_states(encoder.prepare(batch), layer))
        found |= {int(row): tokens[i][real[i]] for i, row in enumerate(rows)}
    return Ragged.of([found[i] for i in range(len(given))])
