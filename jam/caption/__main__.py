"""Say what is in images.

    python -m jam.caption data/captions/cave photo.png
    python -m jam.caption data/captions/cave/questions/0 photos --prompt "there is in the top left"

The first argument is the folder of a captioner (`jam.Captioner.save`, or of the pipeline), or of several, of which the
one with the least loss on validation rows is taken, among those that say all that is in an image.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from jam.errors import InputError
from jam.io import read_json


def captioner_of(folder: Path) -> Path:
    """The folder itself if it is a captioner's, or the best below it.

    Raises:
        InputError: there is none, or none that says all that is in an image.
    """
    from jam.caption.captioner import FILE

    if (folder / FILE).is_file():
        return folder
    found = sorted(folder.rglob(FILE))
    if not found:
        raise InputError(f"{folder}: got no captioner in it, expected {FILE} (dvc repro siblings/dvc.yaml makes some)")
    told = [(read_json(path), path.parent) for path in found]
    # What was learned from sentences alone comes last: its loss is of z of the very sentence, not of an image.
    scored = [
        (of.get("input") == "texts", of.get("validation_loss", math.inf), where)
        for of, where in told
        if of.get("captions", True)
    ]
    if not scored:
        others = [str(where) for _, where in told]
        raise InputError(
            f"{folder}: got captioners that were taught answers alone, expected one that says all; "
            f"name one itself: {', '.join(others)}"
        )
    return min(scored)[-1]


def images_of(paths: Sequence[Path]) -> list[Path]:
    """Files, and all images in folders.

    Raises:
        InputError: one is not there, or a folder holds no image.
    """
    from jam.search import image_files

    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            files, _ = image_files(path)
            if not files:
                raise InputError(f"{path}: got no image in it, expected some")
            found += files
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"{path}: no such file, expected an image or a folder of images")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Read, say, print."""
    parser = argparse.ArgumentParser(
        "python -m jam.caption", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("captioner", type=Path, help="folder of a captioner, or of several")
    parser.add_argument("images", nargs="+", type=Path, help="image files, or folders of them")
    parser.add_argument("--prompt", default="", help="how the sentence begins")
    parser.add_argument("--device", default=None, help="cuda, mps or cpu; the fastest present by default")
    args = parser.parse_args(argv)
    try:
        images = images_of(args.images)
        where = captioner_of(args.captioner)
        from jam.caption.captioner import Captioner

        told = Captioner.load(where, args.device).generate(images, args.prompt)
    except ValueError as error:
        sys.exit(f"caption: {error}")
    print(f"captioner: {where}", file=sys.stderr)
    for path, text in zip(images, told, strict=True):
        print(f"{path}\t{args.prompt}{' ' * bool(args.prompt)}{' '.join(text.split())}")


if __name__ == "__main__":
    main()
