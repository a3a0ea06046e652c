"""What similarities of models tell: why, when, and whether the measures themselves can be trusted.

``mrqap`` (which shared factors explain similarity), ``trajectory`` (models and checkpoints as points), ``grounding``
(measures held against what is known of the models), ``clusters`` (the same concepts?), ``claims`` (stated numbers
beside measured ones).
"""

from jam.compare.analysis.claims import CLAIMS, Claim, Measured, judge, pooled
from jam.compare.analysis.clusters import agreement, kmeans_labels
from jam.compare.analysis.grounding import graded, layer_order, separation
from jam.compare.analysis.mrqap import Factor, mrqap, same
from jam.compare.analysis.trajectory import Plane, classical_mds, distances

__all__ = [
    "CLAIMS",
    "Claim",
    "Factor",
    "Measured",
    "Plane",
    "agreement",
    "classical_mds",
    "distances",
    "graded",
    "judge",
    "kmeans_labels",
    "layer_order",
    "mrqap",
    "pooled",
    "same",
    "separation",
]
