"""Mutual kNN and CKNNA of one pair of representations."""

import torch
from torch import Tensor

from jam.metrics._rows import Array, full_precision, matching_pair
from jam.metrics.kernels.comparisons import GramComparison
from jam.metrics.kernels.gram import Layer, gram_pass
from jam.metrics.kernels.inputs import Groups, centre, group_codes
from jam.metrics.kernels.neighbours import check_k

_ROWS = 512  # rows of a block of shares


@torch.no_grad()
def kept_neighbours(
    x: Array, y: Array, k: int = 10, groups: Groups = None, names: tuple[str, str] = ("x", "y")
) -> Tensor:
    """Share of the k nearest neighbours that x and y agree on, for each row, (n,) in double precision: `mutual_knn`."""
    a, b = matching_pair(x, y)
    n = len(a)
    codes = group_codes(groups, n, a.device)
    check_k(k, n, codes)
    with full_precision(a.device):
        layers = [Layer(z, None, centre(z, name, unit=True)) for z, name in zip((a, b), names, strict=True)]
        lists = gram_pass(layers, k, codes, weights=False, products=False).neighbours
    assert lists is not None
    kept = torch.empty(n, dtype=torch.float64, device=a.device)
    for start in range(0, n, _ROWS):
        rows = slice(start, min(start + _ROWS, n))
        shares = kept.new_zeros(2, rows.stop - start, n)
        for table, one in zip(shares, lists, strict=True):
            table.scatter_(1, one.index[rows], 1.0 if one.share is None else one.share[rows])
        kept[rows] = (shares[0] * shares[1]).sum(1) / k
    return kept


def mutual_knn(x: Array, y: Array, k: int = 10, groups: Groups = None) -> float:
    """Mean share of the k nearest neighbours of a row that x and y agree on; k/(n − 1) by chance.

    Neighbours are by cosine of the rows as they are, not centred; a row is not its own neighbour, by its index. Those
    that tie for the last places (equal cosines, to within rounding in double precision) each count by the share of
    them that there is room for, in x and in y: what ties broken at random would give on average. The score does not
    depend on the order of rows, and where x has ties it is below 1 even with itself.

    Args:
        x, y: (n, d1) and (n, d2) features of the same rows.
        k: neighbours, less than n.
        groups: (n,) labels; rows with the same label, such as captions of one image, are not neighbours.

    Raises:
        ValueError: shapes do not match; k less than 1, or more than the rows that some row may have for neighbours.
        InputError: features with NaN or infinity, zero rows, rows that all point the same way.

    References:
        Huh et al. 2024, The Platonic representation hypothesis, eq. 11.
    """
    return float(kept_neighbours(x, y, k, groups).mean())


@torch.no_grad()
def cknna(x: Array, y: Array, k: int = 10, groups: Groups = None) -> float:
    """Centred kernel nearest-neighbour alignment: CKA over pairs that are neighbours in both spaces.

    A(K, L)/√(A(K, K)·A(L, L)) with A(K, L) = Σ w[i, j]·K[i, j]·v[i, j]·L[i, j]; K and L are the Gram matrices of the
    centred rows, w and v say who is a neighbour of whom: 1, 0, or a share where neighbours tie, as in `mutual_knn`.

    Args:
        x, y: (n, d1) and (n, d2) features of the same rows, as given; columns are centred here.
        k, groups: as in `mutual_knn`.

    Raises:
        ValueError, InputError: as `mutual_knn`.

    References:
        Huh et al. 2024, The Platonic representation hypothesis, appendix A.
    """
    a, b = matching_pair(x, y)
    codes = group_codes(groups, len(a), a.device)
    check_k(k, len(a), codes)
    with full_precision(a.device):
        comparison = GramComparison([(a, "x"), (b, "y")], 1, ["cknna"], k, codes, normalize=False)
        return float(comparison.scores()["cknna"])
