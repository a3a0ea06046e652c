"""Closed-form alignments: ridge, orthogonal Procrustes and CCA, each a pair of linear maps.

All take standardised (hence centred) features of matching rows, images x (n, d_x) and captions y (n, d_y), in
float64, and give (d_x, k) and (d_y, k) maps into one space where rows are compared by cosine. The sign of a singular
or eigenvector is the library's whim; the maps have the one that makes the largest weight on captions positive.
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import orthogonal_procrustes

Maps = tuple[np.ndarray, np.ndarray]


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> Maps:
    """Predict caption features from image features: min ‖xW − y‖² + penalty·n‖W‖²; captions stay as they are.

    Args:
        x, y: (n, d_x) and (n, d_y), centred features of images and captions.
        penalty: ridge weight per row, ≥ 0.
    """
    gram = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
    return np.linalg.solve(gram, x.T @ y), np.eye(y.shape[1])


def procrustes(x: np.ndarray, y: np.ndarray, components: int) -> Maps:
    """Rotate one space onto the other: PCA of both to ``components``, then the orthogonal map that minimises ‖xR − y‖.

    Args:
        x, y: (n, d_x) and (n, d_y), centred features of images and captions.
        components: common dimension, at most min(d_x, d_y).

    References:
        Schönemann 1966, A generalized solution of the orthogonal Procrustes problem.
    """
    _check_components(components, x, y)
    axes_x, axes_y = _principal_axes(x, components), _principal_axes(y, components)
    rotation, _ = orthogonal_procrustes(x @ axes_x, y @ axes_y)
    return _signed(axes_x @ rotation, axes_y)


def cca(x: np.ndarray, y: np.ndarray, components: int, shrinkage: float) -> Maps:
    """Regularised canonical correlation analysis, each direction weighted by its correlation.

    Weighting by the correlation keeps directions that the modalities do not share from counting in the cosine.

    Args:
        x, y: (n, d_x) and (n, d_y), centred features of images and captions.
        components: how many canonical directions to keep, at most min(d_x, d_y).
        shrinkage: ridge added to each covariance, in units of its mean variance, > 0.

    References:
        Hotelling 1936; Gong et al. 2014, A multi-view embedding space for modeling internet images (the weighting).
    """
    _check_components(components, x, y)
    white_x, white_y = _whitening(x, shrinkage), _whitening(y, shrinkage)
    u, correlations, vt = np.linalg.svd(white_x.T @ (x.T @ y / len(x)) @ white_y)
    weight = correlations[:components]
    return _signed(white_x @ u[:, :components] * weight, white_y @ vt[:components].T * weight)


def _check_components(components: int, x: np.ndarray, y: np.ndarray) -> None:
    if not 1 <= components <= min(x.shape[1], y.shape[1]):
        raise ValueError(f"components: got {components}, expected 1 to {min(x.shape[1], y.shape[1])}")


def _signed(x_map: np.ndarray, y_map: np.ndarray) -> Maps:
    """Turn directions (columns) round, in both maps at once, which leaves all products of rows as they were."""
    size = np.abs(y_map)
    largest = np.argmax(size > (1 - 1e-6) * size.max(axis=0), axis=0)  # the first of those that rounding may exchange
    signs = np.where(y_map[largest, np.arange(y_map.shape[1])] < 0, -1.0, 1.0)
    return x_map * signs, y_map * signs


def _principal_axes(x: np.ndarray, components: int) -> np.ndarray:
    """Leading eigenvectors of the covariance, (d, components)."""
    _, vectors = np.linalg.eigh(x.T @ x)
    return vectors[:, ::-1][:, :components]


def _whitening(x: np.ndarray, shrinkage: float) -> np.ndarray:
    """W with WᵀCW = 1 for the shrunk covariance C of x."""
    covariance = x.T @ x / len(x)
    covariance += shrinkage * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    return vectors / np.sqrt(values)


CLOSED_FORMS: dict[str, Callable[..., Maps]] = {"ridge": ridge, "procrustes": procrustes, "cca": cca}
