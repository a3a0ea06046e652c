"""Raw alignment of two modalities' encoders, plain and with the trivial held constant."""

from collections.abc import Mapping, Sequence
from typing import Any

from jam.metrics.kernels import kernel_table
from jam.metrics.reality_kernel import partial_out
from jam.reality.representations import Representation
from jam.reality.truth import Truth

METRICS = ("unbiased_cka", "mutual_knn")


def raw_rows(
    xs: Sequence[Representation], ys: Sequence[Representation], truth: Truth, options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Unbiased CKA and mutual kNN of every x with every y on test rows, with intervals and nulls.

    Args:
        xs: of one modality; their results are those of the row, but for the name of y.
        ys: of another.
        truth: what is held constant.
        options: k, permutations, folds and seed of `kernel_table`.
    """
    rows = []
    texts = "text" in {one.modality for one in (*xs, *ys)}
    name, z = truth.held("test", "text" if texts else xs[0].modality)
    for held in (None, name):
        left, right = (
            {str(i): one.features["test"] if held is None else partial_out(one.features["test"], z)
             for i, one in enumerate(side)}
            for side in (xs, ys)
        )  # fmt: skip
        for row in kernel_table(left, right, METRICS, **options).to_dict("records"):
            x, y = xs[int(row.pop("x"))], ys[int(row.pop("y"))]
            k, p = row.pop("k"), row.pop("p_value")
            what = {**x.told, "y": y.told["x"], "y_layer": y.told["x_layer"], "condition": ["raw"], "held": held}
            rows.append({**what, **row, "k": k or None, "p": p, "split": "test", "interval": "jackknife over rows"})
    return rows
