"""Evaluation: kernels, retrieval, geometry, probes, rulers of a known state; numpy or torch in, plain numbers out."""

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
    from jam.metrics.intervals import bootstrap_mean, paired_difference, t_interval, wilson_interval
    from jam.metrics.kernels import (
        cca,
        cka,
        cka_of_grams,
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
    from jam.metrics.private import private_recall
    from jam.metrics.probes import Probe, fit_probe
    from jam.metrics.readout import Readout, linear_r2
    from jam.metrics.reality import StateReadout, beyond, expected_products, recall_of_reality
    from jam.metrics.reality_kernel import fit_kernel, kernel_ceiling, partial_out, pmi_kernel_score, score_kernel
    from jam.metrics.relevance import average_precision, relevant_first
    from jam.metrics.retrieval import retrieval_metrics, retrieval_ranks
    from jam.metrics.trends import RankCorrelation, grid_rank_correlation, spearman

__all__ = [
    "Probe",
    "RankCorrelation",
    "Readout",
    "StateReadout",
    "alignment",
    "average_precision",
    "beyond",
    "bootstrap_mean",
    "cca",
    "cka",
    "cka_of_grams",
    "cknna",
    "cknna_platonic",
    "clip_outliers",
    "cosine",
    "effective_rank",
    "expected_products",
    "fit_kernel",
    "fit_probe",
    "grid_rank_correlation",
    "hard_negative_correct",
    "hypervolume",
    "kernel_ceiling",
    "kernel_table",
    "layer_alignment",
    "linear_r2",
    "modality_gap",
    "mutual_knn",
    "paired_difference",
    "pareto_front",
    "partial_out",
    "permutation_null",
    "pmi_kernel_score",
    "preservation_rows",
    "private_recall",
    "procrustes",
    "recall_of_reality",
    "reconstruction_r2",
    "relevant_first",
    "retrieval_metrics",
    "retrieval_ranks",
    "rsa",
    "score_kernel",
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
            "bootstrap_mean",
            "paired_difference",
            "t_interval",
            "wilson_interval",
        ),
        "jam.metrics.kernels": (
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
        "jam.metrics.private": ("private_recall",),
        "jam.metrics.probes": (
            "Probe",
            "fit_probe",
        ),
        "jam.metrics.readout": (
            "Readout",
            "linear_r2",
        ),
        "jam.metrics.reality": (
            "StateReadout",
            "beyond",
            "expected_products",
            "recall_of_reality",
        ),
        "jam.metrics.reality_kernel": (
            "fit_kernel",
            "kernel_ceiling",
            "partial_out",
            "pmi_kernel_score",
            "score_kernel",
        ),
        "jam.metrics.relevance": ("average_precision", "relevant_first"),
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
