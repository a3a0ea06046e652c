"""Kernel metrics written plainly from their definitions, one pair at a time, in extended precision."""

import numpy as np
from scipy import stats

Array = np.ndarray


def exact(x: Array) -> Array:
    """As an array of the widest floating-point type, so that the twin's own rounding never matters."""
    return np.asarray(x, dtype=np.longdouble)


def unit(x: Array) -> Array:
    x = exact(x)
    x = x / np.abs(x).max(axis=1, keepdims=True)
    return x / np.sqrt((x * x).sum(axis=1, keepdims=True))


def shares(x: Array, k: int, groups: Array | None = None) -> Array:
    """(n, n) how much j counts among the k nearest of i, by cosine of the uncentred rows; not oneself, nor one's group.

    Rows that tie for the last places share them equally.
    """
    u = unit(x)
    cosines = u @ u.T
    groups = np.arange(len(x)) if groups is None else np.asarray(groups)
    found = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        others = [j for j in range(len(x)) if groups[j] != groups[i]]
        last = sorted((cosines[i, j] for j in others), reverse=True)[k - 1]
        nearer = [j for j in others if cosines[i, j] > last + 5e-18]  # rounding is 1e-19
        tied = [j for j in others if abs(cosines[i, j] - last) <= 5e-18]
        found[i, nearer] = 1
        found[i, tied] = (k - len(nearer)) / len(tied)
    return found


def mutual_knn(x: Array, y: Array, k: int = 10, groups: Array | None = None) -> float:
    return float((shares(x, k, groups) * shares(y, k, groups)).sum() / (len(x) * k))


def gram(x: Array) -> Array:
    """Of the centred rows."""
    x = exact(x) / np.abs(exact(x)).max()
    x = x - x.mean(axis=0)
    return x @ x.T


def cknna(x: Array, y: Array, k: int = 10, groups: Array | None = None) -> float:
    a, b = (gram(z) * shares(z, k, groups) for z in (x, y))
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def cknna_platonic(x: Array, y: Array, k: int = 10) -> float:
    """Unbiased HSIC (Song et al. 2012, eq. 5, written out) of kernels of unit rows, masked by the common neighbours."""
    n = len(x)
    kernels = [unit(z).astype(float) @ unit(z).astype(float).T for z in (x, y)]
    near = [
        [set(np.argsort(np.where(np.arange(n) == i, np.inf, -row))[:k]) for i, row in enumerate(g)] for g in kernels
    ]

    def hsic(a: int, b: int) -> float:
        pairs = [(i, j) for i in range(n) for j in near[a][i] & near[b][i]]
        left, right = np.zeros((n, n)), np.zeros((n, n))
        for i, j in pairs:
            left[i, j], right[i, j] = kernels[a][i, j], kernels[b][i, j]
        total = sum(left[i, j] * right[j, i] for i in range(n) for j in range(n))
        total += left.sum() * right.sum() / ((n - 1) * (n - 2))
        total -= 2 / (n - 2) * sum(left[i, j] * right[j, m] for i in range(n) for j in range(n) for m in range(n))
        return total / (n * (n - 3))

    return hsic(0, 1) / (np.sqrt(hsic(0, 0) * hsic(1, 1)) + 1e-6)


def hsic_biased(a: Array, b: Array) -> float:
    n = len(a)
    h = np.eye(n) - np.ones((n, n)) / n
    return np.trace(a @ h @ b @ h) / (n - 1) ** 2


def hsic_unbiased(a: Array, b: Array) -> float:
    """Song et al. 2012, eq. 5."""
    n = len(a)
    a, b, one = a - np.diag(np.diag(a)), b - np.diag(np.diag(b)), np.ones(n)
    total = (
        np.trace(a @ b) + (one @ a @ one) * (one @ b @ one) / ((n - 1) * (n - 2)) - 2 * (one @ a @ b @ one) / (n - 2)
    )
    return total / (n * (n - 3))


def cka_of(a: Array, b: Array, unbiased: bool) -> float:
    hsic = hsic_unbiased if unbiased else hsic_biased
    return float(hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b)))


def cka(x: Array, y: Array, unbiased: bool = True) -> float:
    return cka_of(gram(x), gram(y), unbiased)


def rbf(x: Array) -> Array:
    x = np.asarray(x, dtype=np.float64)
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)
    width = np.median(distances[np.triu_indices(len(x), 1)])
    return np.exp(-(distances**2) / (2 * width**2))


def principal(x: Array, keep: float | int) -> Array:
    """Principal component scores."""
    x = np.asarray(x, dtype=np.float64)
    x = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(x.T @ x)
    values, vectors = values[::-1], vectors[:, ::-1]
    count = (
        keep if isinstance(keep, int) else int(np.argmax(np.cumsum(values) >= keep * values.sum() * (1 - 1e-12))) + 1
    )
    return x @ vectors[:, :count]


def canonical_correlations(x: Array, y: Array) -> Array:
    """Square roots of the eigenvalues of Cxx⁻¹ Cxy Cyy⁻¹ Cyx, x and y centred."""
    cxx, cyy, cxy = x.T @ x, y.T @ y, x.T @ y
    values = np.linalg.eigvals(np.linalg.solve(cxx, cxy) @ np.linalg.solve(cyy, cxy.T)).real
    return np.sqrt(np.clip(np.sort(values)[::-1][: min(x.shape[1], y.shape[1])], 0, None))


def rsa(x: Array, y: Array, method: str) -> float:
    above = np.triu_indices(len(x), 1)
    distances = [1 - np.corrcoef(z)[above] for z in (x, y)]
    correlate = stats.spearmanr if method == "spearman" else stats.pearsonr
    return float(correlate(*distances).statistic)


def hard_cases() -> dict[str, tuple[Array, Array]]:
    """Pairs on which a neighbour or a kernel is easily got wrong."""
    rng = np.random.default_rng(0)
    n, base = 150, 10 * rng.standard_normal(32)
    noise = rng.standard_normal
    few = noise((15, 6))
    outlier = base[:16] + 0.01 * noise((n, 16))
    outlier[0] = -base[:16]
    return {
        "mean cosine .9999": (base + 0.1 * noise((n, 32)), (base + 0.1 * noise((n, 32))).astype(np.float32)),
        "mean cosine 1 - 1e-12": (base + 1e-5 * noise((n, 32)), base + 1e-5 * noise((n, 32))),
        "duplicates": (few[rng.integers(0, 15, n)], few[rng.integers(0, 15, n)]),
        "small integers": (1 + rng.integers(0, 3, (n, 4)), 1 + rng.integers(0, 2, (n, 5))),
        "one-hot": (np.eye(20)[rng.integers(0, 20, n)], np.eye(5)[rng.integers(0, 5, n)]),
        "one dimension": (noise((n, 1)), noise((n, 1))),
        "huge and tiny": (1e200 * noise((n, 9)), np.float32(1e-30) * noise((n, 9)).astype(np.float32)),
        "rows of all sizes": (10.0 ** rng.uniform(-30, 30, (n, 1)) * noise((n, 9)), noise((n, 9))),
        "half": (noise((n, 9)).astype(np.float16), 100 * noise((n, 300)).astype(np.float16)),
        "far more dimensions than rows": (noise((n, 1500)), noise((n, 900))),
        "one outlier": (outlier, outlier + 0.003 * noise((n, 16))),
    }


def rsa_exact(x: Array, y: Array) -> float:
    """RSA by Spearman, with the distances in extended precision."""
    above = np.triu_indices(len(x), 1)
    rows = [unit(exact(z) - exact(z).mean(axis=1, keepdims=True)) for z in (x, y)]
    return float(stats.spearmanr(*((((u[:, None] - u) ** 2).sum(axis=2))[above] for u in rows)).statistic)
