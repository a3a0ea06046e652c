"""Rows of features: one way in for numpy and torch, double precision in blocks, errors that name the row."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jam.errors import InputError

Array = npt.ArrayLike | Tensor
Groups = Array | Sequence[object] | None

_CHUNK = 2**18  # numbers held in double precision at a time: 2 MB


def as_rows(values: Array, name: str) -> Tensor:
    """Values as a floating-point (n, d) tensor on the device they are on, without a copy where none is needed.

    Lists, data frames, memory maps, strides of any kind and numbers of any real type are taken.

    Raises:
        ValueError: not two-dimensional, or empty; complex or masked values, or no numbers at all.
    """
    rows = _as_tensor(values, name)
    if rows.ndim != 2 or rows.numel() == 0:
        raise ValueError(f"{name}: got shape {tuple(rows.shape)}, expected (rows, dimensions), both at least 1")
    return rows if rows.is_floating_point() else rows.double()


def as_index(values: Array, name: str, length: int, limit: int, device: torch.device) -> Tensor:
    """Values as an int64 vector of the given length with entries in [0, limit).

    Raises:
        ValueError: not a vector of integers, of another length, or out of range.
    """
    index = _as_tensor(values, name)
    if index.is_floating_point() or index.dtype == torch.bool or index.shape != (length,):
        raise ValueError(
            f"{name}: got {index.dtype} of shape {tuple(index.shape)}, expected integers of shape ({length},)"
        )
    index = index.to(device, torch.int64)
    if length and not 0 <= int(index.min()) <= int(index.max()) < limit:
        raise ValueError(f"{name}: got indices {int(index.min())} to {int(index.max())}, expected 0 to {limit - 1}")
    return index


def numbered(groups: Groups, n: int) -> npt.NDArray[np.int64]:
    """Group labels of any kind as (n,) integers from 0, equal where the labels are; None puts each row in its own.

    A label that is missing (None, NaN, NaT) says nothing about its row, so each such row is a group of its own.

    Raises:
        ValueError: not one label for each row; masked labels, or labels such as lists that have no hash.
    """
    if groups is None:
        return np.arange(n)
    import pandas as pd  # numpy alone merges NaN with the string "nan", and does not sort None

    if isinstance(groups, Tensor):
        values = _as_tensor(groups, "groups").cpu()
        labels = (values.double() if values.is_floating_point() else values).numpy()
    elif isinstance(groups, list | tuple):
        labels = np.fromiter(groups, dtype=object, count=len(groups))
    else:
        _refuse_masked(groups, "groups")
        labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups: got shape {labels.shape}, expected ({n},), one label for each row")
    try:
        codes = pd.factorize(labels)[0].astype(np.int64)
    except TypeError as error:
        raise ValueError(f"groups: got labels that cannot be compared ({error}), expected numbers or strings") from None
    missing = codes < 0
    codes[missing] = codes.max(initial=-1) + 1 + np.arange(missing.sum())
    return codes


def require_one_space(**rows: Tensor) -> None:
    """Raise ValueError unless all matrices have the same number of columns and are on the same device."""
    if len({(matrix.shape[1], matrix.device) for matrix in rows.values()}) > 1:
        got = ", ".join(f"{matrix.shape[1]} dimensions on {matrix.device}" for matrix in rows.values())
        raise ValueError(f"{', '.join(rows)}: got {got}; expected the same for all")


def paired_rows(x: Array, y: Array, names: tuple[str, str] = ("x", "y"), minimum: int = 1) -> tuple[Tensor, Tensor]:
    """Two matrices whose rows belong together, at least ``minimum`` of them, on one device.

    Raises:
        ValueError: as `as_rows`; numbers of rows or devices differ; too few rows.
    """
    a, b = as_rows(x, names[0]), as_rows(y, names[1])
    if len(a) != len(b) or a.device != b.device:
        got = f"{len(a)} and {len(b)} rows on {a.device} and {b.device}"
        raise ValueError(f"{', '.join(names)}: got {got}, expected as many in both, on one device")
    if len(a) < minimum:
        raise ValueError(f"{', '.join(names)}: got {len(a)} rows, expected at least {minimum}")
    return a, b


def double_chunks(x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of x some at a time, in double precision; all in the same piece of memory, which may be overwritten."""
    step = max(1, min(len(x), _CHUNK // x.shape[1]))
    held = torch.empty(step, x.shape[1], dtype=torch.float64, device=x.device)
    for start in range(0, len(x), step):
        rows = slice(start, min(start + step, len(x)))
        yield rows, held[: rows.stop - start].copy_(x[rows])


def row_norms(rows: Tensor, name: str) -> Tensor:
    """Euclidean norm of each row in double precision, shape (n,).

    Raises:
        InputError: a row is zero or holds NaN or infinity, so that it has no direction.
    """
    norms = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
    for part, block in double_chunks(rows):
        norms[part] = torch.linalg.vector_norm(block, dim=1)
    odd = (~((norms > 1e-140) & (norms < 1e140))).nonzero().squeeze(1)
    if len(odd):  # not finite or zero, or squares under- or overflow
        require_finite(rows, name)
        block = rows[odd].double()
        tops = block.abs().amax(1)
        if float(tops.min()) < 1e-300:
            raise InputError(f"{name}: row {int(odd[tops.argmin()])} is all zeros, expected rows with a direction")
        norms[odd] = tops * torch.linalg.vector_norm(block / tops[:, None], dim=1)
    return norms


def require_finite(rows: Tensor, name: str) -> None:
    """Raise InputError naming the first row that holds NaN or infinity."""
    bad = ~rows.isfinite().all(dim=1)
    if bad.any():
        raise InputError(f"{name}: row {int(bad.nonzero()[0])} holds NaN or infinity, expected finite numbers")


def unit_rows(rows: Tensor, norms: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Rows divided by their norms; the division is done in double precision, then rounded once to ``dtype``."""
    return rows.to(torch.float64, copy=True).div_(norms.unsqueeze(1)).to(dtype)


def pair_cosines(x: Tensor, x_norms: Tensor, i: Tensor, y: Tensor, y_norms: Tensor, j: Tensor) -> Tensor:
    """Cosine of ``x[i[k]]`` with ``y[j[k]]`` for every k in double precision, in chunks; shape (len(i),)."""
    cosines = torch.empty(len(i), dtype=torch.float64, device=x.device)
    step = max(1, _CHUNK // x.shape[1])
    for start in range(0, len(i), step):
        a, b = i[start : start + step], j[start : start + step]
        products = x.index_select(0, a).double().mul_(y.index_select(0, b))
        cosines[start : start + step] = products.sum(dim=1).div_(x_norms[a]).div_(y_norms[b])
    return cosines


def cosine_resolution(dimensions: int, dtype: torch.dtype) -> float:
    """Largest rounding error of a cosine computed in ``dtype``, whatever the order of summation.

    A dot product of d terms is off by at most d·u·Σ|aᵢbᵢ| ≤ d·u for unit rows, u the unit roundoff (Higham, Accuracy
    and Stability of Numerical Algorithms, 2nd ed., eq. 3.4); the rest is for rounding the rows and the result.
    """
    return (dimensions + 8) * torch.finfo(dtype).eps / 2


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Products in full single precision: no TF32, no bf16 passes, no autocast, whatever the caller has set."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def _as_tensor(values: Array, name: str) -> Tensor:
    if isinstance(values, list | tuple) and values and all(isinstance(row, Tensor) for row in values):
        values = torch.stack([row.detach() for row in values])
    if isinstance(values, Tensor):
        if values.is_complex() or values.layout != torch.strided:
            got = (
                "complex numbers, expected real ones"
                if values.is_complex()
                else "a sparse tensor, expected a dense one"
            )
            raise ValueError(f"{name}: got {got}")
        return values.detach()
    _refuse_masked(values, name)
    try:
        array = np.asarray(values)
        if array.dtype == object and not any(isinstance(value, str | bytes | complex) for value in array.flat):
            array = array.astype(np.float64)  # a data frame of mixed columns
    except (TypeError, ValueError, RuntimeError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{name}: got {type(values).__name__}, expected an array of numbers ({told})") from None
    if array.dtype.kind not in "fiub":
        got = "complex numbers" if array.dtype.kind == "c" else f"{array.dtype} values"
        raise ValueError(f"{name}: got {got}, expected real ones")
    if array.dtype.kind == "u" or array.dtype.itemsize > 8:
        array = array.astype(np.int64 if array.dtype.kind == "u" else np.float64)
    with warnings.catch_warnings():
        # A read-only memory map is fine: nothing here writes into its inputs.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _refuse_masked(values: object, name: str) -> None:
    parts = values if isinstance(values, list | tuple) else (values,)
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise ValueError(f"{name}: got a masked array, expected one without gaps (fill it, or leave rows out)")
