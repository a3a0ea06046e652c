"""All benchmarks of this folder, one after the other, into one table file: ``make bench``.

    python -m benchmarks            writes benchmarks/README.md; 10 to 20 minutes on two cores
    python -m benchmarks --quick    small sizes, printed and not written; a minute

A module is a benchmark if it has a function ``section(options) -> str`` that gives its part of the file: a heading,
what was measured, and a markdown table.
"""

import importlib
import pkgutil
from pathlib import Path

from benchmarks.harness import chosen, machine, parser

FOLDER = Path(__file__).parent
INTRO = """# Benchmarks

What the engines cost beside the least they could cost, their floor, and beside a plain implementation from the
textbook. Times within a row come from one run, taken in turns, best of several; read the ratios, which carry over to
other machines better than seconds. Written by `make bench`; one part again, without writing: `python -m
benchmarks.kernels`. `OMP_NUM_THREADS` sets the threads, `--device cpu` or `--device cuda` leaves out the other."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--output", type=Path, help="file to write; benchmarks/README.md unless --quick")
    given = arguments.parse_args()
    output = given.output or (None if given.quick else FOLDER / "README.md")
    parts = [INTRO, f"Machine: {machine()}."]
    for name in sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]) if module.name != "__main__"):
        benchmark = importlib.import_module(f"benchmarks.{name}")
        if hasattr(benchmark, "section"):
            parts.append(benchmark.section(chosen(given)))
            if output:  # after each part: what a long run has measured is not lost
                output.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
