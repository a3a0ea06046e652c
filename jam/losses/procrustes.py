"""Orthogonal Procrustes of two sides, a loss whose optimum is known in closed form."""

import numpy as np
from scipy.linalg import orthogonal_procrustes

from jam.losses.shared.contract import ClosedForm, Maps, signed


def procrustes(x: np.ndarray, y: np.ndarray, components: int) -> Maps:
    """Rotate one space onto the other: PCA of both to ``components``, then the orthogonal map that minimises ‖xR − y‖.

    Args:
        x: (n, d_x) centred features of the first side.
        y: (n, d_y) centred features of the second.
        components: common dimension, at most min(d_x, d_y).

    References:
        Schönemann 1966, A generalized solution of the orthogonal Procrustes problem.
    """
    if not 1 <= components <= min(x.shape[1], y.shape[1]):
        raise ValueError(f"components: got {components}, expected 1 to {min(x.shape[1], y.shape[1])}")
    axes_x, axes_y = _principal_axes(x, components), _principal_axes(y, components)
    rotation, _ = orthogonal_procrustes(x @ axes_x, y @ axes_y)
    return signed(axes_x @ rotation, axes_y)


def _principal_axes(x: np.ndarray, components: int) -> np.ndarray:
    """Leading eigenvectors of the covariance, (d, components)."""
    _, vectors = np.linalg.eigh(x.T @ x)
    return vectors[:, ::-1][:, :components]


LOSS = ClosedForm(procrustes)
