"""A folder of the Hugging Face layout, zipped, and the zip cut into parts, one a package."""

import shutil
import zipfile
from pathlib import Path, PurePosixPath

KINDS = (".json", ".safetensors", ".txt")  # what the Auto classes read; no code, no pickles


def convert(source: Path, target: Path) -> None:
    """Join the parts in the order of their names, and unzip the files at the top of the one folder in there."""
    parts = sorted(source.iterdir())
    whole = source / "whole.zip"
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, out)
    with zipfile.ZipFile(whole) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if len(path.parts) == 2 and path.suffix in KINDS:
                with archive.open(name) as inside, (target / path.name).open("wb") as out:
                    shutil.copyfileobj(inside, out)
