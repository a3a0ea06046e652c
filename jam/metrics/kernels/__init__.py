"""Kernel alignment of two representations of the same rows: how alike are their notions of what is near what?

``inputs`` checks and centres; ``gram`` computes every Gram matrix once, for ``neighbours``, ``hsic`` and ``cka``;
``cca``, ``rsa`` and ``mapped`` hold the other metrics; ``shifts`` permutes kernels by Fourier transform;
``comparisons`` brings all metrics to one form; ``layers`` scores all layer pairs, ``pairs`` one pair, ``tables`` every
pair out of two sets; ``nulls`` says what a score is worth.
"""

from jam.metrics.kernels.cca import cca, svcca
from jam.metrics.kernels.cka import cka
from jam.metrics.kernels.comparisons import METRICS as KERNEL_METRICS
from jam.metrics.kernels.layers import Best, LayerAlignment, layer_alignment
from jam.metrics.kernels.mapped import Cosines, cosine, procrustes
from jam.metrics.kernels.nulls import Interval, calibrate, jackknife, p_value, permutation_null
from jam.metrics.kernels.pairs import KernelScore, cknna, kernel_score, mutual_knn
from jam.metrics.kernels.rsa import rsa
from jam.metrics.kernels.tables import kernel_table

__all__ = [
    "KERNEL_METRICS",
    "Best",
    "Cosines",
    "Interval",
    "KernelScore",
    "LayerAlignment",
    "calibrate",
    "cca",
    "cka",
    "cknna",
    "cosine",
    "jackknife",
    "kernel_score",
    "kernel_table",
    "layer_alignment",
    "mutual_knn",
    "p_value",
    "permutation_null",
    "procrustes",
    "rsa",
    "svcca",
]
