"""A copy of the tree without git, as an unpacked archive has it: what `dvc repro` needs and nothing else."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
KEPT = ("jam", "stages", "presets", "dvc.yaml", "pyproject.toml", ".dvcignore", ".gitignore")


def copy_tree(folder: Path) -> Path:
    """Make ``folder`` such a copy, without params.yaml."""
    folder.mkdir()
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder
