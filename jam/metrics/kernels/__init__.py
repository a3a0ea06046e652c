"""Kernel alignment of two representations of the same rows: how alike are their notions of what is near what?

Definitions: ``neighbours`` (mutual kNN), ``cka``, ``given`` (of kernels that are matrices), ``rsa``, ``linear`` (SVCCA,
CCA, Procrustes, cosines), ``platonic`` (variants of Huh et al.'s code). Engine: ``gram`` centres and multiplies,
``permuted`` sums over permuted rows, ``engine`` has all metrics of all layer pairs. Answers: ``scores``, and ``nulls``
for what a score is worth.
"""

from jam.metrics.kernels.cka import cka
from jam.metrics.kernels.engine import METRICS as KERNEL_METRICS
from jam.metrics.kernels.engine import VARIANTS as KERNEL_VARIANTS
from jam.metrics.kernels.given import cka_of_grams
from jam.metrics.kernels.linear import Cosines, cca, cosine, procrustes, svcca
from jam.metrics.kernels.neighbours import mutual_knn
from jam.metrics.kernels.nulls import Interval, calibrate, p_value, permutation_null
from jam.metrics.kernels.platonic import cknna_platonic, clip_outliers, svcca_platonic
from jam.metrics.kernels.rsa import rsa
from jam.metrics.kernels.scores import (
    Best,
    LayerAlignment,
    cknna,
    kernel_table,
    layer_alignment,
)

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
    "cka_of_grams",
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
