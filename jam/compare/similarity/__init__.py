"""How alike are two models on the same items? Measures that need no common coordinates, or find them on other rows.

``kernels`` (unbiased CKA, RSA, mutual kNN of all pairs), ``rsa`` (RSA of many at once), ``linear`` (predictability and
cosines after a rotation, both fitted on train rows), ``ceilings`` (what a second training of the same model reaches),
``printed`` (a form of "CKA" that is in circulation and measures something else).
"""

from jam.compare.similarity.ceilings import with_ceilings
from jam.compare.similarity.kernels import kernel_similarities
from jam.compare.similarity.linear import Prepared, linear_similarities, predictability, rotated_cosines
from jam.compare.similarity.printed import printed_cka, printed_similarities
from jam.compare.similarity.rsa import rsa_table

__all__ = [
    "Prepared",
    "kernel_similarities",
    "linear_similarities",
    "predictability",
    "printed_cka",
    "printed_similarities",
    "rotated_cosines",
    "rsa_table",
    "with_ceilings",
]
