"""Search a folder of images by text, with a trained pair of adapters.

By hand:  python -m jam.embed data/adapters/spread/0 photos "a red seven on the left"
          python -m jam.embed data/adapters/spread/0 photos --save photos.npz            embed once …
          python -m jam.embed data/adapters/spread/0 photos.npz "two blue threes" -k 3   … ask often

Files that are no images, or that cannot be read, are passed over and named on stderr.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jam.aligned import Aligned, Side
from jam.data.images import decode_image
from jam.errors import InputError
from jam.io import atomic_path
from jam.progress import Progress, silent, track

NO_PICTURES = {"EPS", "PDF", "MPEG", "HDF5", "GRIB", "BUFR", "WMF", "FITS"}  # programs, documents, films, data


def suffixes() -> set[str]:
    """The endings of files that Pillow reads as pictures."""
    found = Image.registered_extensions()  # fills the table of readers
    return {suffix for suffix, kind in found.items() if kind in Image.OPEN and kind not in NO_PICTURES} | {".jfif"}


def embed_folder(
    side: Side, folder: str | Path, batch_size: int = 64, progress: Progress = silent
) -> tuple[list[str], np.ndarray, list[str]]:
    """Embed every image below a folder.

    Args:
        side: the image side of an `Aligned` pair.
        folder: searched with its subfolders; links that lead out of it are passed over.
        batch_size: images at a time.
        progress: wraps the batches, see `jam.progress`.

    Returns:
        Paths relative to the folder, in their order; unit vectors (n, d_latent); and a line for each file that was
        passed over: of another kind, empty, damaged, or a link out of the folder.

    Raises:
        InputError: no such folder, or no image in it that can be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of images, or a file of an earlier --save")
    root, known = folder.resolve(), suffixes()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names: list[str] = []
    vectors, passed = [], []
    batches = [files[start : start + batch_size] for start in range(0, len(files), batch_size)]
    for batch in progress(batches, len(batches), "embed"):
        images = []
        for path in batch:
            name = path.relative_to(folder).as_posix()
            try:
                if path.name.startswith("._") or path.suffix.lower() not in known:
                    raise InputError("not an image by its name")
                if not path.resolve().is_relative_to(root):
                    raise InputError("a link that leads out of the folder")
                images.append(decode_image(path.read_bytes()))
            except (InputError, OSError) as error:
                passed.append(f"{name}: {error}")
            else:
                names.append(name)
        if images:
            vectors.append(side.encode(images, batch_size))
    if not vectors:
        raise InputError(f"{folder}: got no image that can be read" + (f" ({passed[0]})" if passed else ""))
    return names, np.concatenate(vectors), passed


def nearest(query: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of ``vectors`` (n, d) with the largest cosine to ``query`` (d,), best first: rows and cosines.

    Both hold unit vectors; equal cosines rank by the lower row.
    """
    cosines = vectors @ query
    order = np.argsort(-cosines, kind="stable")[:k]
    return order, cosines[order]


def fingerprint(side: Side) -> str:
    """What made an embedding: a hash of the adapter's weights, of the layer, and of what pins the encoder."""
    digest = hashlib.sha256()
    for name, value in sorted(side.adapter.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    layer = side.layer % len(side.encoder.dims)
    digest.update(json.dumps([side.adapter.config, layer, side.encoder.describe()], sort_keys=True).encode())
    return digest.hexdigest()


def save_embeddings(path: Path, names: Sequence[str], vectors: np.ndarray, made_by: str) -> None:
    """Keep embeddings under exactly this path."""
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez(file, paths=np.array(names), vectors=vectors, made_by=np.array(made_by))


def load_embeddings(path: Path, made_by: str) -> tuple[list[str], np.ndarray]:
    """Paths and vectors of an earlier ``--save``.

    Raises:
        InputError: not such a file, or made by another pair: its vectors lie in another space, whatever their width.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            names, vectors = [str(name) for name in saved["paths"]], saved["vectors"]
            maker = str(saved["made_by"]) if "made_by" in saved else ""
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path}: expected embeddings that --save wrote, got: {error}") from error
    if maker != made_by:
        raise InputError(
            f"{path}: got embeddings of another pair of adapters, expected this pair's: embed again (--save)"
        )
    return names, vectors


def check_writable(path: Path) -> None:
    """Refuse, before any work, a place that embeddings cannot be kept at.

    Raises:
        InputError: a folder, a file that `save_embeddings` did not write, or a place that cannot be written to.
    """
    try:
        if path.is_dir() or (path.exists() and path.read_bytes()[:4] != b"PK\x03\x04"):
            raise InputError(f"{path}: got a folder or a file of another kind, expected a new name or embeddings")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise InputError(f"{path}: got a folder that may not be written to, expected another")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a place to keep embeddings at") from error


def main(argv: Sequence[str] | None = None) -> None:
    """Embed, save, answer."""
    parser = argparse.ArgumentParser(
        "python -m jam.embed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("adapters", help="folder of a trained pair, such as data/adapters/spread/0")
    parser.add_argument("images", type=Path, help="folder of images, or a file of an earlier --save")
    parser.add_argument("queries", nargs="*", help="texts to look for")
    parser.add_argument("-k", type=int, default=5, help="images to show for each query")
    parser.add_argument("--save", type=Path, help="keep the images' embeddings in this file (.npz)")
    parser.add_argument("--encoders", help="folder of the encoders; by default the pair's own, or data/encoders")
    parser.add_argument("--device", help="cuda, mps or cpu; the fastest present by default")
    args = parser.parse_args(argv)
    if args.k < 1 or not (args.queries or args.save):
        parser.error("expected at least one query or --save, and k at least 1")
    if any(not query.strip() for query in args.queries):
        parser.error("got an empty query, expected a text")
    if args.save:
        check_writable(args.save)
    pair = Aligned.load(args.adapters, args.encoders, args.device)
    queries = (
        pair.text.encode(args.queries) if args.queries else np.empty((0, 0))
    )  # a bad query is told before the images are read
    made_by = fingerprint(pair.image)
    if args.images.is_file():
        names, vectors = load_embeddings(args.images, made_by)
    else:
        names, vectors, passed = embed_folder(pair.image, args.images, progress=track)
        for line in passed:
            print(f"passed over: {line}", file=sys.stderr)
    if args.save:
        save_embeddings(args.save, names, vectors, made_by)
        print(f"{len(names)} images embedded in {args.save}")
    for query, vector in zip(args.queries, queries, strict=True):
        print(f"{query}:")
        for rank, (row, cosine) in enumerate(zip(*nearest(vector, vectors, args.k), strict=True), start=1):
            print(f"{rank:>3}  {cosine:.3f}  {names[row]}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"embed: {error}")
