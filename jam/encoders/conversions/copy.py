"""A package that carries the Hugging Face layout itself."""

import shutil
from pathlib import Path


def convert(source: Path, target: Path) -> None:
    """Take the files as they are."""
    shutil.copytree(source, target, dirs_exist_ok=True)
