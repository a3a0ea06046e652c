"""Adaptive retrieval: a shortlist by few dimensions, put in order by all, against all compared by all.

    python -m benchmarks.shortlist [--quick]

Queries come one by one, as they do to a service; galleries are of random unit vectors, whose nearest neighbours no
few dimensions tell: what is measured is time, and quality is in metrics/README.md. Half a minute on one core.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.harness import Options, Row, alone, best, chosen, parser, table
from jam.align.adapter import truncated
from jam.widths.shortlist import multiply_adds, shortlisted

D, QUERIES = 256, 50
QUICK = ((10_000, 32, 50),)
FULL = tuple((m, dims, k) for m in (10_000, 30_000, 100_000) for dims, k in ((8, 50), (16, 50), (32, 50), (32, 200)))
COLUMNS = (
    "gallery", "shortlist", "by", "multiply-adds, share of all", "all, ms a query", "adaptive, ms a query",
    "all / adaptive", "numpy: all / adaptive, 50 at once",
)  # fmt: skip
TEXT = f"""## Adaptive retrieval

The nearest of a gallery of vectors of {D} dimensions: all compared by all dimensions in one numpy product, against a
shortlist by the first few (stored beside, normalised) and these by all. One query at a time, where reading the gallery
is what takes time; and {QUERIES} at once, where the whole product is at its most efficient and each shortlist is
gathered on its own."""


def section(options: Options) -> str:
    """This benchmark's part of the table file; of numpy, hence of the CPU alone."""
    return f"{TEXT}\n\n{table(COLUMNS, rows(options))}"


def rows(options: Options) -> Iterator[Row]:
    """The rows of the table, one after the other."""
    for size in QUICK if options.quick else FULL:
        yield alone(measure, *size)


def measure(m: int, dims: int, k: int) -> Row:
    """One row of the table."""
    rng = np.random.default_rng(0)
    queries, gallery = (truncated(rng.standard_normal((n, D), np.float32), D) for n in (QUERIES, m))
    small = truncated(gallery, dims)

    def adaptive() -> None:
        for query in queries:
            shortlisted(query[None], gallery, dims, k, small)

    def whole() -> None:
        for query in queries:
            (gallery @ query).argmax()

    one, all_of_one, many, all_of_many = best(
        5,
        adaptive,
        whole,
        lambda: shortlisted(queries, gallery, dims, k, small),
        lambda: (queries @ gallery.T).argmax(axis=1),
    )
    share = multiply_adds(m, D, dims, k) / (m * D)
    each, each_all = (1000 * time / QUERIES for time in (one, all_of_one))
    return [
        f"{m:,}", f"{k}", f"{dims}", f"{share:.1%}", f"{each_all:.3f}", f"{each:.3f}", f"{each_all / each:.1f}",
        f"{all_of_many / many:.1f}",
    ]  # fmt: skip


if __name__ == "__main__":
    print(section(chosen(parser(__doc__).parse_args())))
