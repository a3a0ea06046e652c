"""What SmolLM2 of the package index, frozen, says of your own photos after a projector was trained in front of it.

    python -m benchmarks.smollm2 FOLDER [--prompt "a photo of"] [--captions 2] [--epochs 5]

FOLDER holds images and a metadata.jsonl with a caption or more of each (`jam.sources.folder`). Needs the extra
``gguf`` and fetches 98 MB the first time; some minutes on two cores for 200 photos. Not a part of ``make bench``: the
photos are yours, and so are the numbers.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from jam.caption import train_captioner
from jam.caption.language import Language
from jam.caption.ngrams import bleu, cider_d
from jam.caption.packages import packaged_language
from jam.caption.said import others
from jam.data.images import decode_image
from jam.errors import InputError
from jam.metrics import paired_difference
from jam.params import FolderData
from jam.sources.folder import load_folder

SHARES = FolderData(
    train=0.5, val=0.2, max_pixels=100_000_000, max_side=512, errors="raise"
)  # learned from together; the rest is tested on
SHOWN = 8


def measured(
    folder: Path, prompt: str, captions: int, epochs: int, encoder: str = "efficientnet_lite2", language: Any = None
) -> list[str]:
    """Lines that tell what came of it; ``language`` is SmolLM2 if left out.

    Raises:
        InputError: what `load_folder`, `packaged_language` or `train_captioner` refuse.
    """
    splits = load_folder(folder, SHARES, seed=0).splits
    learned, tested = [*splits["train"], *splits["val"]], splits["test"]
    language = Language.load(packaged_language("smollm2") if language is None else language)
    before = language.fingerprint()
    how: dict[str, Any] = {"prompt": prompt, "k": 8, "batch_size": 8, "learning_rate": 0.002, "seed": 0}
    how |= {"epochs": epochs, "report": lambda line: print(line, flush=True)}
    told = [row["captions"][:captions] for row in learned]
    captioner = train_captioner(_images(learned), told, encoder=encoder, language=language, **how)
    said = [" ".join(text.lower().split()) for text in captioner.generate(_images(tested), prompt)]
    whole = [f"{prompt.lower()} {text}".strip() for text in said]
    references = [[text.lower() for text in row["captions"]] for row in tested]
    swapped = [whole[i] for i in others(len(whole))]
    own, other = (np.array(cider_d(some, references)) for some in (whole, swapped))
    gap = paired_difference(own, other)
    return [
        f"{len(learned)} photos learned from, {len(tested)} tested on, {captions} captions a photo, {epochs} epochs",
        f"BLEU-4 {bleu(whole, references):.3f}, with another photo's prefix {bleu(swapped, references):.3f}",
        f"CIDEr-D {own.mean():.3f}, with another photo's prefix {other.mean():.3f}: "
        f"{gap.value:.3f} [{gap.low:.3f}, {gap.high:.3f}]",
        f"distinct {len(set(said)) / len(said):.2f}, empty {sum(not text for text in said) / len(said):.2f}",
        f"weights of the language model the same: {captioner.language.fingerprint() == before}",
        *said[:SHOWN],
    ]


def _images(rows: list[dict[str, Any]]) -> list[Any]:
    return [decode_image(row["image"]["bytes"]) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of photos, with metadata.jsonl")
    parser.add_argument("--prompt", default="a photo of", help="how sentences begin")
    parser.add_argument("--captions", type=int, default=2, help="of each photo that are learned from")
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    try:
        print("\n".join(measured(given.folder, given.prompt, given.captions, given.epochs)))
    except InputError as error:
        sys.exit(f"smollm2: {error}")


if __name__ == "__main__":
    main()
