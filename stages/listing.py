"""Sections of params.yaml as files: one line of dvc.lock for each stage that reads all of them.

DVC reads and writes all of dvc.lock around every stage, so its length is time; these sections have five hundred lines.

Writes  data/encoders.json, data/spaces.json

By hand:  python -m stages.listing
"""

from pathlib import Path

from jam.io import write_json
from jam.params import load_params
from stages.common import run

LISTINGS = {
    Path("data/encoders.json"): ("encoders",),
    Path("data/spaces.json"): ("spaces", "spaces_of_two", "spaces_of_three"),
}


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    for path, sections in LISTINGS.items():
        told = {section: getattr(params, section) for section in sections}
        write_json(path, {of: {name: spec.model_dump(mode="json") for name, spec in told[of].items()} for of in told})
    return f"all of them in {' and '.join(map(str, LISTINGS))}"


if __name__ == "__main__":
    run(main)
