"""Kernel alignment of two representations of the same rows: how alike are their notions of what is near what?

Definitions: ``knn`` (mutual kNN, CKNNA), ``cka``, ``cca`` (SVCCA, CCA), ``rsa``, ``mapped`` (cosines, Procrustes),
``platonic`` (variants of Huh et al.'s code). Engines: ``gram`` computes every Gram matrix once, ``shifts`` permutes
kernels by Fourier transform, ``comparisons`` brings all metrics to one form. Answers: ``layers`` scores all layer
pairs, ``scores`` any pair with interval and null, ``nulls`` says what a score is worth.
"""

from jam.metrics.kernels.cca import cca, svcca
from jam.metrics.kernels.cka import cka
from jam.metrics.kernels.comparisons import METRICS as KERNEL_METRICS
from jam.metrics.kernels.comparisons import VARIANTS as KERNEL_VARIANTS
from jam.metrics.kernels.knn import cknna, mutual_knn
from jam.metrics.kernels.layers import Best, LayerAlignment, layer_alignment
from jam.metrics.kernels.mapped import Cosines, cosine, procrustes
from jam.metrics.kernels.nulls import Interval, calibrate, p_value, permutation_null
from jam.metrics.kernels.platonic import cknna_platonic, clip_outliers, svcca_platonic
from jam.metrics.kernels.rsa import rsa
from jam.metrics.kernels.scores import kernel_table

__all__ = [
    "KERNEL_METRICS",
    "KERNEL_VARIANTS",
    "Best",
    "Cosines",
    "Interval",
    "LayerAlignment",
    "calibrate",
    "cca",
    "cka",
    "cknna",
    "cknna_platonic",
    "clip_outliers",
    "cosine",
    "kernel_table",
    "layer_alignment",
    "mutual_knn",
    "p_value",
    "permutation_null",
    "procrustes",
    "rsa",
    "svcca",
    "svcca_platonic",
]
