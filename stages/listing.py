"""The section ``encoders`` of params.yaml as a file: one line of dvc.lock for each stage that reads all of it.

DVC reads and writes all of dvc.lock around every stage, so its length is time; the section has three hundred lines.

Writes  data/encoders.json

By hand:  python -m stages.listing
"""

from pathlib import Path

from jam.io import write_json
from jam.params import load_params
from stages.common import run

LISTING = Path("data/encoders.json")


def main() -> str:
    """Run the stage and say where its results are."""
    encoders = load_params().encoders
    write_json(LISTING, {name: spec.model_dump(mode="json") for name, spec in encoders.items()})
    return f"{len(encoders)} encoders in {LISTING}"


if __name__ == "__main__":
    run(main)
