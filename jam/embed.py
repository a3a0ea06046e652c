"""Search a folder of images by text, with a trained pair of adapters.

By hand:  python -m jam.embed data/adapters/spread/0 photos "a red seven on the left"
          python -m jam.embed data/adapters/spread/0 photos --save photos.npz            embed once …
          python -m jam.embed data/adapters/spread/0 photos.npz "two blue threes" -k 3   … ask often
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jam.aligned import Aligned, Side
from jam.data.images import decode_image
from jam.errors import InputError
from jam.io import atomic_path
from jam.progress import Progress, silent, track

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")


def embed_folder(
    side: Side, folder: str | Path, batch_size: int = 64, progress: Progress = silent
) -> tuple[list[str], np.ndarray]:
    """Embed every image below a folder.

    Args:
        side: the image side of an `Aligned` pair.
        folder: searched with its subfolders; links that lead out of it are not followed.
        batch_size: images at a time.
        progress: wraps the batches, see `jam.progress`.

    Returns:
        Paths relative to the folder, in their order, and unit vectors (n, d_latent).

    Raises:
        InputError: no such folder, no image in it, or one that cannot be read (named).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of images, or an .npz of an earlier --save")
    root = folder.resolve()
    paths = sorted(
        path for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and path.resolve().is_relative_to(root)
    )  # fmt: skip
    if not paths:
        raise InputError(f"{folder}: got no image, expected files ending in {', '.join(SUFFIXES)}")
    batches = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    vectors = []
    for batch in progress(batches, len(batches), "embed"):
        images = []
        for path in batch:
            try:
                images.append(decode_image(path.read_bytes()))
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
        vectors.append(side.encode(images, batch_size))
    return [path.relative_to(folder).as_posix() for path in paths], np.concatenate(vectors)


def nearest(query: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of ``vectors`` (n, d) with the largest cosine to ``query`` (d,), best first: rows and cosines.

    Both hold unit vectors; equal cosines rank by the lower row.
    """
    cosines = vectors @ query
    order = np.argsort(-cosines, kind="stable")[:k]
    return order, cosines[order]


def load_embeddings(path: Path, d_latent: int) -> tuple[list[str], np.ndarray]:
    """Paths and vectors of an earlier ``--save``.

    Raises:
        InputError: not such a file, or made with adapters of another width.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            paths, vectors = [str(name) for name in saved["paths"]], saved["vectors"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: expected embeddings that --save wrote, got: {error}") from error
    if vectors.shape != (len(paths), d_latent):
        raise InputError(f"{path}: got vectors of shape {vectors.shape}, expected {(len(paths), d_latent)}")
    return paths, vectors


def main(argv: Sequence[str] | None = None) -> None:
    """Embed, save, answer."""
    parser = argparse.ArgumentParser(
        "python -m jam.embed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("adapters", help="folder of a trained pair, such as data/adapters/spread/0")
    parser.add_argument("images", type=Path, help="folder of images, or an .npz of an earlier --save")
    parser.add_argument("queries", nargs="*", help="texts to look for")
    parser.add_argument("-k", type=int, default=5, help="images to show for each query")
    parser.add_argument("--save", type=Path, help="keep the images' embeddings in this .npz")
    parser.add_argument("--encoders", help="folder of the encoders; by default the pair's own, or data/encoders")
    parser.add_argument("--device", help="cuda, mps or cpu; the fastest present by default")
    args = parser.parse_args(argv)
    if args.k < 1 or not (args.queries or args.save):
        parser.error("expected at least one query or --save, and k at least 1")
    if any(not query.strip() for query in args.queries):
        parser.error("got an empty query, expected a text")
    pair = Aligned.load(args.adapters, args.encoders, args.device)
    if args.images.suffix == ".npz":
        paths, vectors = load_embeddings(args.images, pair.image.adapter.config["d_latent"])
    else:
        paths, vectors = embed_folder(pair.image, args.images, progress=track)
    if args.save:
        with atomic_path(args.save) as part, part.open("wb") as file:
            np.savez(file, paths=np.array(paths), vectors=vectors)
        print(f"{len(paths)} images embedded in {args.save}")
    for query, vector in zip(args.queries, pair.text.encode(args.queries) if args.queries else [], strict=True):
        print(f"{query}:")
        for rank, (row, cosine) in enumerate(zip(*nearest(vector, vectors, args.k), strict=True), start=1):
            print(f"{rank:>3}  {cosine:.3f}  {paths[row]}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"embed: {error}")
