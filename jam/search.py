"""Search a folder of images by text, in a trained space.

By hand:  python -m jam.search data/spaces photos "a red seven on the left"
          python -m jam.search data/spaces/spread/0 photos --save photos.npz            embed once …
          python -m jam.search data/spaces/spread/0 photos.npz "two blue threes" -k 3   … ask often
          python -m jam.search data/spaces/matryoshka/0 photos.npz "a big nine" -d 64   … by 64 dimensions

Of a folder of spaces, the one of images and texts that scored best on validation rows is taken; spaces of several
runs in it, which cannot be compared, are named.
"""

import hashlib
import json
import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
from PIL import Image
from safetensors.torch import save

from jam.align.adapter import check_dims, truncated
from jam.align.looks import Choice
from jam.align.space import SPACE, Side, Space, best_of, read_space
from jam.data.images import decode_image
from jam.encoders.items import listed
from jam.encoders.manifest import Manifest
from jam.errors import InputError
from jam.io import atomic_path
from jam.progress import Progress, silent, track

METADATA = {"metadata.jsonl", "metadata.csv"}  # of a folder that one trained on
NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow knows their headers, or hands them to a program


def image_files(folder: Path) -> tuple[list[Path], list[str]]:
    """The files below a folder whose suffix is that of an image, in order, and lines for what else is there."""
    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in {*Image.OPEN} - NO_PICTURES}
    root, found, passed_over, errors, others = os.path.realpath(folder), [], [], list[OSError](), Counter[str]()
    for parent, folders, files in os.walk(folder, onerror=errors.append):  # follows no link
        passed_over += [f"{path}: a link to a folder" for name in folders if (path := Path(parent, name)).is_symlink()]
        for path in (Path(parent, name) for name in files):
            if path.name in METADATA:
                continue
            if path.suffix.lower() not in suffixes:
                others[path.suffix.lower()] += 1
            elif Path(os.path.realpath(path)).is_relative_to(root) and os.path.isfile(path):  # noqa: PTH113 (no raise)
                found.append(path)
            else:
                passed_over.append(f"{path}: a broken link, or one out of the folder")
    passed_over += [f"{error.filename}: {error.strerror}" for error in errors]
    passed_over += [f"{folder}: {n} × {kind!r}, which Pillow does not read" for kind, n in sorted(others.items())]
    return sorted(found), passed_over


def embed_folder(
    side: Side, folder: str | Path, batch_size: int = 64, progress: Progress = silent
) -> tuple[list[str], np.ndarray, list[str]]:
    """Embed every image below a folder that Pillow can read; links that lead out of it are not followed.

    Args:
        side: a side of images, of a `Space` with its encoders.
        folder: searched with its subfolders.
        batch_size: images at a time.
        progress: wraps the batches, see `jam.progress`.

    Returns:
        Paths relative to the folder, in their order; unit vectors (n, d_latent); and a line for each file passed over.

    Raises:
        InputError: no such folder, or no image in it that can be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of images, or a file of an earlier --save")
    found, passed_over = image_files(folder)
    batches = [found[start : start + batch_size] for start in range(0, len(found), batch_size)]
    paths, vectors = [], []
    for batch in progress(batches, len(batches), "embed"):
        images = []
        for path in batch:
            try:
                images.append(decode_image(path.read_bytes()))
                paths.append(path.relative_to(folder).as_posix())
            except (OSError, InputError) as error:
                passed_over.append(f"{path}: {getattr(error, 'strerror', None) or error}")
        vectors += [side.encode(images, batch_size)] if images else []
    if not paths:
        raise InputError(f"{folder}: got no image that Pillow reads, passed over: {'; '.join(passed_over[:3]) or '-'}")
    return paths, np.concatenate(vectors), passed_over


def fingerprint(side: Side) -> str:
    """SHA-256 of all that decides a vector: the encoder, its pooling and layer, the adapter's weights and config."""
    assert side.encoder is not None
    encoder, layer = side.encoder.manifest, side.layer % len(side.encoder.dims)
    facts = [encoder.id, encoder.sha256, encoder.pooling, layer, side.adapter.config]
    weights = save({name: tensor.cpu().contiguous() for name, tensor in side.adapter.state_dict().items()})
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode() + weights).hexdigest()


def best_space(folder: Path, encoders: Path) -> Choice:
    """The space of the folder itself; else, of the spaces of images and texts in it, the best on validation rows.

    Spaces of more sides than two are scored on more than is asked for here: they are taken where there are no others.

    Args:
        folder: of a space, or of folders of spaces, or of folders of such, as the pipeline leaves them.
        encoders: folder of the encoders that the spaces name.

    Raises:
        InputError: there is none, or there are those of several runs.
    """
    if (folder / SPACE).is_file() or not folder.is_dir():
        return best_of([folder], folder)
    found = dict[Path, int]()
    for path in sorted(file.parent for pattern in ("*", "*/*") for file in folder.glob(f"{pattern}/{SPACE}")):
        space = read_space(path)
        names = {source["encoder"] for source in space["sides"].values() if source}
        if {"image", "text"} <= {Manifest.read(encoders / name).modality for name in names}:
            found[path] = len(space["sides"])
    if not found:
        raise InputError(f"{folder}: got no space of images and texts in it, expected {SPACE} in it or below it")
    return best_of([path for path, sides in found.items() if sides == min(found.values())], folder)


def nearest(query: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of ``vectors`` (n, d) with the largest cosine to ``query`` (d,), best first: rows and cosines.

    Both hold unit vectors; equal cosines rank by the lower row; k is at least 1 and may exceed n.
    """
    cosines = vectors @ query
    order = np.argsort(-cosines, kind="stable")[:k]
    return order, cosines[order]


def load_embeddings(path: Path, made_by: str | None = None) -> tuple[list[str], np.ndarray]:
    """Paths and vectors (n, d_latent) of an earlier ``--save``.

    Raises:
        InputError: not such a file, or one with another `fingerprint` than ``made_by`` (None: whichever).
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            paths, vectors, maker = [str(name) for name in saved["paths"]], saved["vectors"], saved.get("made_by")
    except Exception as error:  # OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error and more
        raise InputError(f"{path}: expected a file that --save wrote, got something else or a damaged one") from error
    if made_by not in (None, str(maker)):
        raise InputError(f"{path}: not embedded by this space, encoder and layer; embed the images again with --save")
    return paths, vectors


def check_save(path: Path) -> None:
    """Raise an ``InputError`` where ``--save`` could not write, or would overwrite anything but an earlier save."""
    if os.path.lexists(path):  # a broken link too
        load_embeddings(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.part").close()
    except OSError as error:
        raise InputError(f"--save {path}: cannot be written: {error}") from error


def main(argv: Sequence[str] | None = None) -> None:
    """Embed, save, answer."""
    parser = ArgumentParser("python -m jam.search", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("space", help="folder of a trained space, such as data/spaces/spread/0, or of several")
    parser.add_argument("images", type=Path, help="folder of images, or a file of an earlier --save")
    parser.add_argument("queries", nargs="*", help="texts to look for")
    parser.add_argument("-k", type=int, default=5, help="images to show for each query")
    parser.add_argument("-d", "--dims", type=int, help="compare by the first so many dimensions; all by default")
    parser.add_argument("--save", type=Path, help="keep the images' embeddings in this file (numpy's .npz)")
    parser.add_argument("--encoders", help="folder of the encoders; by default the space's own, or data/encoders")
    parser.add_argument("--device", help="cuda, mps or cpu; the fastest present by default")
    args = parser.parse_args(argv)
    if args.k < 1 or not (args.queries or args.save):
        raise InputError(f"got k = {args.k} and {len(args.queries)} queries, expected k ≥ 1 and a query or --save")
    listed(args.queries, "text")
    if args.save:
        check_save(args.save)
    encoders = Path("data/encoders") if args.encoders is None else Path(args.encoders)
    choice = best_space(Path(args.space), encoders)
    space = replace(Space.load(choice.folder, args.encoders, args.device), chosen=choice.chosen)
    among = f", the best of {choice.number} on validation rows" if choice.number > 1 else ""
    print(f"space {choice.folder}{among}" + (f"\nwarning: {space.doubt}" if space.doubt else ""), file=sys.stderr)
    seen, told = space.of_modality("image"), space.of_modality("text")
    check_dims(args.dims, seen.adapter.config["d_latent"])
    made_by = fingerprint(seen)
    if args.images.is_file():
        paths, vectors = load_embeddings(args.images, made_by)
    else:
        paths, vectors, passed_over = embed_folder(seen, args.images, progress=track)
        print(*(f"passed over {line}\n" for line in passed_over), sep="", end="", file=sys.stderr)
    if args.save:
        with atomic_path(args.save) as part, part.open("wb") as file:  # to an open file numpy adds no suffix
            np.savez(file, paths=np.array(paths), vectors=vectors, made_by=made_by)
        print(f"{len(paths)} images embedded in {args.save}")
    vectors = truncated(vectors, args.dims)  # all are saved
    asked = truncated(told.encode(args.queries), args.dims) if args.queries else vectors[:0]
    for query, vector in zip(args.queries, asked, strict=True):
        print(f"{query}:")
        for rank, (row, cosine) in enumerate(zip(*nearest(vector, vectors, args.k), strict=True), start=1):
            print(f"{rank:>3}  {cosine:.3f}  {paths[row]}")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a file name need not be UTF-8
    try:
        main()
    except (InputError, OSError) as error:  # a full disk
        sys.exit(f"search: {error}")
