"""Make a second world: parameters and results that belong together, beside those of the root. Not a stage of the graph.

Writes  worlds/NAME/params.yaml (of a preset), dvc.yaml and siblings/dvc.yaml (those of the root, whose code lies two
        folders up; one that was deleted is not made again)

    cd worlds/NAME && dvc repro        … and `dvc metrics diff`, `dvc exp run -S …` as at the root

They are real copies, as a symlinked one breaks `dvc metrics diff` for the whole repository; run this again, with - for
the preset, when those of the root have changed.

By hand:  python -m stages.world uniform cave
"""

import re
from pathlib import Path

from jam.errors import InputError
from jam.io import atomic_path
from jam.params import load_params
from stages.common import run
from stages.preset import built, first_of_all

WORLDS, UP = Path("worlds"), "../.."
GRAPHS = ("dvc.yaml", "siblings/dvc.yaml")


def graph(file: str) -> str:
    """A dvc.yaml of the root for a folder of worlds/."""
    text = Path(file).read_text(encoding="utf-8")
    text = re.sub(r"(?m)^(\s+- )((?:jam|stages)/)", rf"\1{UP}/\2", text)
    return text.replace("cmd: \\${LAUNCH", f"cmd: PYTHONPATH={UP} \\${{LAUNCH")


def parameters(preset: str) -> str:
    """The params.yaml of a preset for a folder of worlds/."""
    return re.sub(r"(reads: )(jam/)", rf"\1{UP}/\2", built(preset))


def main(name: str, preset: str) -> str:
    """Write the world's files; its parameters are left as they are if it has some and ``preset`` is ``-``."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"world: got {name!r}, expected a name of letters, digits, - and _")
    folder = WORLDS / name
    if preset == "-" and not (folder / "params.yaml").is_file():
        raise InputError(f"{folder}: has no params.yaml yet, expected a preset to make it of")
    if preset != "-" and (folder / "params.yaml").exists():
        raise InputError(f"{folder}: has a params.yaml, expected - for its preset: only graphs are made anew")
    files = {file: graph(file) for file in GRAPHS if preset != "-" or (folder / file).is_file()}
    if preset != "-":
        files["params.yaml"] = parameters(preset)
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / file) as part:
            part.write_text(text, encoding="utf-8")
    first = first_of_all(load_params(folder / "params.yaml"), folder)
    return f"{folder}: {' and '.join(files)}; {first}cd {folder} && dvc repro"


if __name__ == "__main__":
    run(main, name="of the world", preset="whose parameters it begins with; - to make its graphs alone anew")
