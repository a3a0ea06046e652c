"""Freeze what the pipeline gives, so that a rebuild of its inside can be held against it.

    python -m benchmarks.frozen             clone this commit, run `dvc repro --force` of every preset below, write
    python -m benchmarks.frozen --check     … and compare with what is written instead: files and numbers that differ
    … --presets mini                        two minutes; the cave takes about seventeen on two cores

Writes benchmarks/frozen/PRESET.csv (all results as they came out), PRESET.sha256 (of every file under data/, as
`sha256sum -c` reads it) and seconds.json. Hashes hold for one kind of machine and number of threads; numbers for all.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from jam.io import atomic_path, read_json, write_json
from jam.results import read_results
from stages.results import all_results

FROZEN = Path(__file__).parent / "frozen"
ROOT = Path(__file__).parent.parent
PRESETS = ("cave", "mini")


def reproduce(checkout: Path, preset: str) -> float:
    """Run the whole graph of a preset in a checkout; seconds."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run([sys.executable, "-m", "stages.preset", preset], cwd=checkout, check=True, stdout=sys.stderr)
    start = time.perf_counter()
    subprocess.run(
        ["dvc", "repro", "--force"], cwd=checkout, env={**os.environ, "PATH": path}, check=True, stdout=sys.stderr
    )
    return time.perf_counter() - start


def hashes(checkout: Path) -> str:
    """SHA-256 of every file under data/, a line each, sorted by name."""
    files = sorted(path for path in (checkout / "data").rglob("*") if path.is_file())
    digests = [(hashlib.sha256(path.read_bytes()).hexdigest(), path.relative_to(checkout).as_posix()) for path in files]
    return "".join(f"{digest}  {name}\n" for digest, name in digests)


def differences(preset: str, checkout: Path) -> list[str]:
    """What came out otherwise than it is written down: files under data/ by name, numbers by their table."""
    old = dict(line.split("  ", 1)[::-1] for line in (FROZEN / f"{preset}.sha256").read_text().splitlines())
    new = dict(line.split("  ", 1)[::-1] for line in hashes(checkout).splitlines())
    told = [f"{preset}: {name}" for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    before, after = read_results([FROZEN / f"{preset}.csv"]), all_results(checkout)
    measured = ["value", "low", "high", "null", "p"]
    key = [name for name in before if name not in (*measured, "null_mean", "calibrated")]
    both = before.merge(after, on=key, how="outer", suffixes=("_old", "_new"))
    for row in both.to_dict("records"):
        ends = {name: (row[f"{name}_old"], row[f"{name}_new"]) for name in measured}
        other = [
            f"{name} {old} → {new}"
            for name, (old, new) in ends.items()
            if not (pd.isna(old) and pd.isna(new)) and (pd.isna(old) or pd.isna(new) or old != new)
        ]
        what = ", ".join(str(row[name]) for name in key if pd.notna(row[name]))
        told += [f"{preset}: {what}: {'; '.join(other)}"] if other else []
    return told


def main() -> None:
    """Freeze, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is written, write nothing")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    args = parser.parse_args()
    found: list[str] = []
    seconds = read_json(FROZEN / "seconds.json") if (FROZEN / "seconds.json").is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
        for preset in args.presets:
            seconds[preset] = round(reproduce(checkout, preset))
            if args.check:
                found += differences(preset, checkout)
                continue
            for name, text in (
                (f"{preset}.csv", all_results(checkout).dropna(axis="columns", how="all").to_csv(index=False)),
                (f"{preset}.sha256", hashes(checkout)),
            ):
                with atomic_path(FROZEN / name) as part:
                    part.write_text(text)
    if not args.check:
        write_json(FROZEN / "seconds.json", seconds)
    print("\n".join([*found, f"{len(found)} differences"] if args.check else [f"frozen in {FROZEN}: {seconds} s"]))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
