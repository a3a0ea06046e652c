"""A captioner of one's own images and sentences, in one call."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jam.caption.captioner import Captioner, single
from jam.caption.language import Language
from jam.caption.lora import with_lora
from jam.caption.packages import LANGUAGES, packaged_language
from jam.caption.projector import Projector
from jam.caption.train import Examples, Schedule, train_projector
from jam.encoders import Encoder
from jam.errors import InputError
from jam.features.ragged import encode_tokens

FEWEST = 10


def train_captioner(
    images: Sequence[Any],
    captions: Sequence[str | Sequence[str]],
    *,
    encoder: Encoder | str | Path,
    language: Language | str | Path,
    layer: int = -1,
    tokens: bool = False,
    projector: str = "mlp",
    k: int = 8,
    prompt: str = "",
    width: int = 128,
    lora: int | None = None,
    validation: float = 0.15,
    learning_rate: float = 0.001,
    epochs: int = 10,
    batch_size: int = 16,
    seed: int = 0,
    device: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Captioner:
    """Train a projector of frozen features of images into a frozen language model.

    Args:
        images: n files or PIL images.
        captions: (n,) a sentence of each, or several.
        encoder: of images, or what `Encoder.load` takes.
        language: a causal language model, its folder, or the name of a packaged one (``smollm2``).
        layer: of the encoder.
        tokens: whether all tokens of the layer are read, else their mean.
        projector: ``linear``, ``mlp``, ``transformer`` or ``resampler``.
        k: length of the prefix.
        prompt: how sentences begin, to be given to `Captioner.generate` as well: "a photo of" suits a model that was
            made for conversation.
        width: of the projector.
        lora: rank of changes to the language model; None leaves it as it is.
        validation: share of the images that chooses the epoch.
        learning_rate: at its peak.
        epochs: at most.
        batch_size: of sentences.
        seed: of the split, the weights and the batches.
        device: as in `Encoder.load`.
        report: called with one line an epoch.

    Raises:
        InputError: not as many captions as images, an image without one, fewer than ten images, or what does not load.

    Example:
        >>> how = {"encoder": "efficientnet_lite2", "language": "smollm2"}
        >>> captioner = train_captioner(photos, told, **how)  # doctest: +SKIP
    """
    given, told = list(images), [[each] if isinstance(each, str) else list(each) for each in captions]
    if len(given) != len(told) or len(given) < FEWEST or not all(told):
        without = f", {sum(not some for some in told)} of them without a sentence" if len(given) == len(told) else ""
        raise InputError(
            f"captions: got {len(told)} of {len(given)} images{without}, expected one or more of each, and at least "
            f"{FEWEST} images"
        )
    if not isinstance(encoder, Encoder):
        encoder = Encoder.load(encoder, device)
    if encoder.modality != "image":
        raise InputError(f"encoder: got {encoder.manifest.id}, of {encoder.modality}, expected one of images")
    target = encoder.model.device
    if not isinstance(language, Language):
        language = Language.load(packaged_language(str(language)) if str(language) in LANGUAGES else language, target)
    if tokens:
        inputs = encode_tokens(encoder, given, layer)
    else:
        inputs = single(encoder.encode(given, layer=layer))
    order = np.random.default_rng(seed).permutation(len(given))
    held = order[: max(1, round(validation * len(given)))]
    seen = np.setdiff1d(order, held)
    torch.manual_seed(seed)
    longest = int(inputs.lengths.max())
    d_in, gain = inputs.shape[1], language.mean_norm()
    made = Projector(projector, d_in, language.width, k, width, longest=longest, gain=gain)
    made.standardise.fit(inputs.tokens, inputs[seen].rows(), 1.0)
    if lora:
        language = with_lora(language, lora, seed)
    schedule = Schedule(learning_rate, epochs, batch_size)
    learned, chosen_on = (_examples(rows, told, prompt) for rows in (seen, held))
    how: dict[str, Any] = {"seed": seed, "report": report}
    train_projector(made.to(target), language, inputs, learned, (inputs, chosen_on), schedule, **how)
    return Captioner(encoder, layer, "tokens" if tokens else "pooled", None, made.eval(), language)


def _examples(rows: np.ndarray, told: Sequence[Sequence[str]], prompt: str) -> Examples:
    """All sentences of some images."""
    of = [(int(row), text) for row in rows for text in told[row]]
    return Examples(np.array([row for row, _ in of]), [prompt] * len(of), [text for _, text in of])
