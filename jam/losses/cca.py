"""Regularised canonical correlation analysis, a loss whose optimum is known in closed form."""

import numpy as np

from jam.losses.shared.contract import ClosedForm, Maps, signed


def cca(x: np.ndarray, y: np.ndarray, components: int, shrinkage: float) -> Maps:
    """Regularised canonical correlation analysis, each direction weighted by its correlation.

    Weighting by the correlation keeps directions that the sides do not share from counting in the cosine.

    Args:
        x: (n, d_x) centred features of the first side.
        y: (n, d_y) centred features of the second.
        components: how many canonical directions to keep, at most min(d_x, d_y).
        shrinkage: ridge added to each covariance, in units of its mean variance, > 0.

    References:
        Hotelling 1936; Gong et al. 2014, A multi-view embedding space for modeling internet images (the weighting).
    """
    if not 1 <= components <= min(x.shape[1], y.shape[1]):
        raise ValueError(f"components: got {components}, expected 1 to {min(x.shape[1], y.shape[1])}")
    white_x, white_y = _whitening(x, shrinkage), _whitening(y, shrinkage)
    u, correlations, vt = np.linalg.svd(white_x.T @ (x.T @ y / len(x)) @ white_y)
    weight = correlations[:components]
    return signed(white_x @ u[:, :components] * weight, white_y @ vt[:components].T * weight)


def _whitening(x: np.ndarray, shrinkage: float) -> np.ndarray:
    """W with WᵀCW = 1 for the shrunk covariance C of x."""
    covariance = x.T @ x / len(x)
    covariance += shrinkage * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    return vectors / np.sqrt(values)


LOSS = ClosedForm(cca)
