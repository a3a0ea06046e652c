"""A small language model pretrained on sentences alone: no image is ever seen.

It reads whole lower-case words, and is trained for one of three objectives on documents. ``causal``: a GPT-2 (Radford
et al. 2019) that predicts the next token. ``masked``: a ModernBERT that guesses words left out, see
`jam.pretrain.masked`. ``contrastive``: a ModernBERT for which two sentences of one document are alike and
those of other documents are not, see `jam.pretrain.contrastive`; what SimCLR is to images.

A document is one or more sentences about one thing. Where it says the same thing again in other words, guessing it
takes more than grammar: which words mean the same, and what belongs to what.
Input and output embeddings are one matrix. The folder holds the whole language model; as an encoder its states are
pooled.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from jam.data.schema import read_table
from jam.encoders.pooling import pool
from jam.encoders.token_loss import masked_token_loss, next_token_loss, padded
from jam.errors import InputError
from jam.fit import seeded
from jam.pretrain.contrastive import ViewLoss
from jam.pretrain.masked import mask_tokens, masked_model
from jam.pretrain.training import Pretrained, Training, train

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

SPECIAL = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
MAX_TOKENS = 128  # of a document; more than one of the cave has
WARM_UP = 0.1  # share of the steps in which the learning rate rises
CLIP_NORM = 1.0
EXPANSION = 2  # width of the feed-forward layers over that of the states
TOGETHER = 64  # sentences that go through the model in one pass
BETAS = (0.9, 0.98)  # AdamW; a shorter memory of the squared gradient suits short trainings


def pretrain_text(
    texts: str | Path,
    *,
    objective: Literal["causal", "masked", "contrastive"],
    width: int,
    layers: int,
    heads: int,
    **options: Any,
) -> Pretrained:
    """Pretrain a text encoder from scratch.

    Args:
        texts: table; the captions of a row are one document.
        objective: ``causal``, ``masked`` or ``contrastive``.
        width: of the states, a multiple of ``heads``.
        layers: transformer blocks.
        heads: attention heads of each block.
        options: see `jam.pretrain.training.Training`. The documents of a batch are of about equal length, so that
            little is padding.

    Raises:
        InputError: the table has no captions, or no word in them.
        ValueError: ``width`` is no multiple of ``heads``.
    """
    if width % heads:
        raise ValueError(f"width: got {width}, expected a multiple of {heads} heads")
    training = Training(**options)
    device = training.device
    documents = [row for row in read_table(texts, ["captions"]).column("captions").to_pylist() if row]
    if not documents:
        raise InputError(f"{texts}: got no captions, expected texts to pretrain on")
    tokenizer = word_tokenizer([text for document in documents for text in document], mask=objective != "causal")
    if len(tokenizer) == len(tokenizer.all_special_tokens):
        raise InputError(f"{texts}: got captions without a word, expected texts to pretrain on")
    if objective == "masked":
        # A causal model sees each document's first sentence on its own, as sentences are encoded later; this one never
        # would, and would learn to look for missing words in the other sentences alone.
        documents += [document[:1] for document in documents]
    rng = np.random.default_rng(training.seed)
    masks = torch.Generator().manual_seed(training.seed)
    pad = tokenizer.pad_token_id
    if objective == "contrastive":
        documents = [document for document in documents if len(document) > 1]
        if len(documents) < training.batch_size:
            raise InputError(
                f"{texts}: got {len(documents)} documents of two sentences or more, expected at least one batch of "
                f"{training.batch_size}"
            )
        sentences = [[_document_tokens(tokenizer, [text]) for text in document] for document in documents]
        plan = [rows for _ in range(training.epochs) for rows in _whole_batches(len(sentences), training, rng)]
    else:
        tokens = [_document_tokens(tokenizer, document) for document in documents]
        lengths = np.array([len(ids) for ids in tokens])
        plan = [rows for _ in range(training.epochs) for rows in _epoch(lengths, training.batch_size, rng)]

    def loss_of(rows: np.ndarray) -> tuple[Tensor, int]:
        if objective == "contrastive":
            chosen = [rng.permutation(len(sentences[row]))[:2] for row in rows]
            views = [sentences[row][two[side]] for side in (0, 1) for row, two in zip(rows, chosen, strict=True)]
            return head(_pooled(model, views, pad)), 1
        batch = padded([tokens[row] for row in rows], pad)
        if objective == "causal":
            return next_token_loss(model, batch.to(device), pad)
        seen, targets = mask_tokens(batch, tokenizer, masks)
        return masked_token_loss(model, seen.to(device), targets.to(device), pad)

    with seeded(training.seed, device):
        new_model: Any = causal_model if objective == "causal" else masked_model
        model = new_model(tokenizer, width, layers, heads, EXPANSION * width)
        if objective == "contrastive":
            model = model.model  # without its head, which guesses words
        both = nn.ModuleList([model.to(device)])
        if objective == "contrastive":
            head = ViewLoss(width).to(device)
            both.append(head)
        told: dict[str, Any] = {"label": "pretrain text", "warm_up": WARM_UP, "betas": BETAS, "clip_norm": CLIP_NORM}
        loss, kept = train(both, plan, loss_of, training, model=model, **told)
    return Pretrained(model.cpu().eval(), tokenizer, loss, kept)


def _pooled(model: Any, texts: Sequence[list[int]], pad: int) -> Tensor:
    """Mean-pooled last states (n, d); texts of about equal length go together, so that little is padding."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = []
    for start in range(0, len(order), TOGETHER):
        batch = padded([texts[i] for i in order[start : start + TOGETHER]], pad).to(model.device)
        mask = batch != pad
        parts.append(pool(model(input_ids=batch, attention_mask=mask.long()).last_hidden_state, mask, "mean"))
    return torch.cat(parts)[torch.tensor(order).argsort()]


def causal_model(
    tokenizer: "PreTrainedTokenizerFast", width: int, layers: int, heads: int, inner: int
) -> "GPT2LMHeadModel":
    """A new GPT-2 of random weights; ``inner`` is the width of its feed-forward layers."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=tokenizer.model_max_length,
            n_embd=width,
            n_layer=layers,
            n_head=heads,
            n_inner=inner,
            initializer_range=width**-0.5,  # GPT-2's 0.02 is for wide models; narrow ones take far longer to get going
            activation_function="gelu",  # fused, unlike GPT-2's own approximation
            resid_pdrop=0.0,  # few passes over the texts: nothing to hold back
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def word_tokenizer(texts: Sequence[str], mask: bool = False) -> "PreTrainedTokenizerFast":
    """A tokenizer of the lower-case words and marks of ``texts``, framed by ``<bos>`` and ``<eos>``; else ``<unk>``.

    Special tokens come first: ``<pad>``, ``<bos>``, ``<eos>``, ``<unk>``, and ``<mask>`` where ``mask`` is true.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = SPECIAL | ({"mask_token": "<mask>"} if mask else {})
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        texts, trainers.WordLevelTrainer(special_tokens=list(special.values()), show_progress=False)
    )
    bos, eos = SPECIAL["bos_token"], SPECIAL["eos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (bos, eos)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=MAX_TOKENS, padding_side="right", **special
    )


def _document_tokens(tokenizer: "PreTrainedTokenizerFast", document: Sequence[str]) -> list[int]:
    """``<bos> sentence <eos> sentence <eos> …``: a sentence alone, as it is encoded later, begins like a document."""
    sentences = tokenizer(list(document), add_special_tokens=False)["input_ids"]
    tokens = [tokenizer.bos_token_id]
    for ids in sentences:
        tokens += [*ids, tokenizer.eos_token_id]
    return tokens[:MAX_TOKENS]


def _whole_batches(count: int, training: Training, rng: np.random.Generator) -> list[np.ndarray]:
    """All documents in a new order, a rest smaller than a batch left out."""
    whole = count // training.batch_size * training.batch_size
    return np.split(rng.permutation(count)[:whole], whole // training.batch_size)


def _epoch(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All documents in batches of about equal length: shuffled, sorted by length, cut, and the batches shuffled."""
    shuffled = rng.permutation(len(lengths))
    order = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]
