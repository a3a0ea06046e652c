"""Rows of embeddings: one way in for numpy and torch, cosines in double precision, errors that name the row."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jam.errors import InputError

Array = npt.ArrayLike | Tensor

_CHUNK = 1024  # pairs of rows held in double precision at a time: 4 MB at d = 512
_BLOCK = 2**18  # numbers held in double precision at a time: 2 MB


def as_rows(values: Array, name: str) -> Tensor:
    """Values as a floating-point (n, d) tensor on the device they are on, without a copy where none is needed.

    Raises:
        ValueError: not two-dimensional, empty, complex, masked, or no numbers.
    """
    rows = _as_tensor(values, name)
    if rows.ndim != 2 or rows.numel() == 0:
        raise ValueError(f"{name}: got shape {tuple(rows.shape)}, expected (rows, dimensions), both at least 1")
    if rows.is_complex():
        raise ValueError(f"{name}: got complex numbers, expected real ones")
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


def require_one_space(**rows: Tensor) -> None:
    """Raise ValueError unless all matrices have the same number of columns and are on the same device."""
    if len({(matrix.shape[1], matrix.device) for matrix in rows.values()}) > 1:
        got = ", ".join(f"{matrix.shape[1]} dimensions on {matrix.device}" for matrix in rows.values())
        raise ValueError(f"{', '.join(rows)}: got {got}; expected the same for all")


def matching_pair(x: Array, y: Array, minimum: int = 2, names: tuple[str, str] = ("x", "y")) -> tuple[Tensor, Tensor]:
    """Two matrices on one device whose rows belong together, widths of their own.

    Raises:
        ValueError: as `as_rows`; numbers of rows or devices differ; fewer than ``minimum`` rows.
    """
    (a, b), where = (as_rows(z, name) for z, name in zip((x, y), names, strict=True)), ", ".join(names)
    if len(a) != len(b):
        raise ValueError(f"{where}: got {len(a)} and {len(b)} rows, expected as many rows in both")
    if a.device != b.device:
        raise ValueError(f"{where}: got devices {a.device} and {b.device}, expected one device")
    if len(a) < minimum:
        raise ValueError(f"{where}: got {len(a)} rows, expected at least {minimum}")
    return a, b


def chunks(x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of x some at a time, in double precision; all in the same piece of memory, which may be overwritten."""
    step = max(1, min(len(x), _BLOCK // x.shape[1]))
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
    for part, block in chunks(rows):  # at once, torch would first copy the whole matrix to double precision
        norms[part] = torch.linalg.vector_norm(block, dim=1)
    bad = ~((norms > 0) & norms.isfinite())
    if bad.any():
        row = int(bad.nonzero()[0])
        raise InputError(
            f"{name}: row {row} has norm {float(norms[row]):g}, expected finite rows that are not zero "
            f"({int(bad.sum())} of {len(rows)} rows are bad)"
        )
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
    for start in range(0, len(i), _CHUNK):
        a, b = i[start : start + _CHUNK], j[start : start + _CHUNK]
        products = x.index_select(0, a).double().mul_(y.index_select(0, b))
        cosines[start : start + _CHUNK] = products.sum(dim=1).div_(x_norms[a]).div_(y_norms[b])
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
    if isinstance(values, Tensor):
        return values.detach()
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(f"{name}: got a masked array, expected one without gaps (fill it, or leave rows out)")
    if isinstance(values, list | tuple) and values and all(isinstance(row, Tensor) for row in values):
        return torch.stack([row.detach() for row in values])
    try:
        array = np.ascontiguousarray(values)
        if array.dtype == object:  # a DataFrame of mixed columns
            array = array.astype(np.float64)
        with warnings.catch_warnings():
            # A read-only memory map is fine: nothing here writes into its inputs.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{name}: got {type(values).__name__}, expected an array of numbers ({told})") from error
