"""Evaluation: kernels, retrieval, geometry, probes; numpy or torch in, plain numbers out."""

from typing import TYPE_CHECKING

from jam.lazy import lazily

if TYPE_CHECKING:
    from jam.metrics.geometry import (
        alignment,
        effective_rank,
        modality_gap,
        preservation_rows,
        reconstruction_r2,
        uniformity,
    )
    from jam.metrics.hard_negatives import hard_negative_correct
    from jam.metrics.intervals import t_interval, wilson_interval
    from jam.metrics.kernels import (
        cca,
        cka,
        cknna,
        cknna_platonic,
        clip_outliers,
        cosine,
        kernel_table,
        layer_alignment,
        mutual_knn,
        permutation_null,
        procrustes,
        rsa,
        svcca,
        svcca_platonic,
    )
    from jam.metrics.pareto import hypervolume, pareto_front
    from jam.metrics.probes import Probe, fit_probe
    from jam.metrics.retrieval import retrieval_metrics, retrieval_ranks
    from jam.metrics.trends import RankCorrelation, grid_rank_correlation, spearman

__all__ = [
    "Probe",
    "RankCorrelation",
    "alignment",
    "cca",
    "cka",
    "cknna",
    "cknna_platonic",
    "clip_outliers",
    "cosine",
    "effective_rank",
    "fit_probe",
    "grid_rank_correlation",
    "hard_negative_correct",
    "hypervolume",
    "kernel_table",
    "layer_alignment",
    "modality_gap",
    "mutual_knn",
    "pareto_front",
    "permutation_null",
    "preservation_rows",
    "procrustes",
    "reconstruction_r2",
    "retrieval_metrics",
    "retrieval_ranks",
    "rsa",
    "spearman",
    "svcca",
    "svcca_platonic",
    "t_interval",
    "uniformity",
    "wilson_interval",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        "jam.metrics.geometry": (
            "alignment",
            "effective_rank",
            "modality_gap",
            "preservation_rows",
            "reconstruction_r2",
            "uniformity",
        ),
        "jam.metrics.hard_negatives": ("hard_negative_correct",),
        "jam.metrics.intervals": (
            "t_interval",
            "wilson_interval",
        ),
        "jam.metrics.kernels": (
            "cca",
            "cka",
            "cknna",
            "cknna_platonic",
            "clip_outliers",
            "cosine",
            "kernel_table",
            "layer_alignment",
            "mutual_knn",
            "permutation_null",
            "procrustes",
            "rsa",
            "svcca",
            "svcca_platonic",
        ),
        "jam.metrics.pareto": (
            "hypervolume",
            "pareto_front",
        ),
        "jam.metrics.probes": (
            "Probe",
            "fit_probe",
        ),
        "jam.metrics.retrieval": (
            "retrieval_metrics",
            "retrieval_ranks",
        ),
        "jam.metrics.trends": (
            "RankCorrelation",
            "grid_rank_correlation",
            "spearman",
        ),
    },
)
