"""A frozen language model that goes on from a prefix of vectors: its loss, and its sentences."""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from jam.encoders.finding import find_encoder
from jam.encoders.loading import load_pretrained
from jam.encoders.manifest import MANIFEST
from jam.encoders.token_loss import IGNORED
from jam.errors import InputError

MOST = 64  # tokens of a sentence


@dataclass(frozen=True)
class Language:
    """A causal language model with its tokenizer, neither of which is trained.

    Attributes:
        model: of transformers, in evaluation mode, all its parameters frozen.
        tokenizer: its own.
    """

    model: Any
    tokenizer: Any

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> "Language":
        """Read a causal language model: of an encoder's folder, whatever its source, or of the Hugging Face layout.

        Raises:
            InputError: transformers cannot load it as such, or weights are missing or altered.
        """
        from transformers import AutoModelForCausalLM

        path = Path(folder)
        if (path / MANIFEST).is_file():
            path, _ = find_encoder(path)  # fetched and verified
        model, tokenizer = load_pretrained(path, "text", AutoModelForCausalLM)
        return cls.of(cast(Any, model).to(device), tokenizer)

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> "Language":
        """Of a model in memory, which is frozen."""
        return cls(model.eval().requires_grad_(False), tokenizer)

    @property
    def trains(self) -> bool:
        """Whether a part of it asks for gradients: `jam.caption.lora` alone adds such."""
        return any(weights.requires_grad for weights in self.model.parameters())

    @property
    def width(self) -> int:
        """Of its embeddings."""
        return int(self.model.get_input_embeddings().embedding_dim)

    def embed(self, ids: Tensor) -> Tensor:
        """(b, t) → (b, t, d): what the model itself makes of tokens, a scale of its own included."""
        return cast(Tensor, self.model.get_input_embeddings()(ids))

    def mean_norm(self) -> float:
        """Of the embeddings of all tokens."""
        device = self.model.device
        with torch.no_grad():
            count = self.model.get_input_embeddings().num_embeddings
            return float(self.embed(torch.arange(count, device=device)).float().norm(dim=1).mean())

    def fingerprint(self) -> str:
        """SHA-256 of all its own weights, the same before and after what is trained in front of it or beside (LoRA)."""
        own = {
            name.removeprefix("base_model.model.").replace(".base_layer", ""): tensor
            for name, tensor in self.model.state_dict().items()
            if "lora_" not in name
        }
        found = hashlib.sha256()
        for name, tensor in sorted(own.items()):
            found.update(name.encode())
            found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    @property
    def lora(self) -> bool:
        """Whether low-rank parts were added, see `jam.caption.lora`."""
        return hasattr(self.model, "peft_config")

    def start(self, prompt: str = "") -> list[int]:
        """The tokens that a sentence starts with: the model's own beginning, where it has one, and a prompt."""
        return self.starts([prompt])[0]

    def starts(self, prompts: Sequence[str]) -> list[list[int]]:
        """`start` of several."""
        first = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        return [[*first, *ids] if prompt else first for prompt, ids in zip(prompts, self._ids(prompts), strict=True)]

    def opening(self) -> Tensor:
        """(1, t, d), a prefix that tells nothing: t = 0 where the model has a token that begins a text (`start`), else
        that of the one that ends a text, after which another begins.
        """
        ids = [] if self.tokenizer.bos_token_id is not None else [self.tokenizer.eos_token_id]
        return self.embed(torch.tensor([ids], dtype=torch.long, device=self.model.device))

    def end(self, prompt: str, answer: str) -> list[int]:
        """The tokens of what comes after a prompt, the end among them."""
        return self.ends([prompt], [answer])[0]

    def ends(self, prompts: Sequence[str], answers: Sequence[str]) -> list[list[int]]:
        """`end` of several."""
        texts = [f" {answer}" if prompt else answer for prompt, answer in zip(prompts, answers, strict=True)]
        return [[*ids, self.tokenizer.eos_token_id] for ids in self._ids(texts)]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
        return found

    @property
    def positions(self) -> float:
        """How many vectors it reads at most; infinite where it knows no limit."""
        return getattr(self.model.config, "max_position_embeddings", None) or math.inf

    def check_prompt(self, prompt: str, k: int, most: int = MOST) -> None:
        """Refuse a beginning of sentences that this model cannot go on from.

        Args:
            prompt: which may be empty.
            k: vectors of the prefix before it.
            most: tokens that are to be said after it.

        Raises:
            InputError: it has words that the tokenizer does not know, or more tokens than there are positions for.
        """
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and (odd := [word for word in prompt.split() if unknown in self._ids([word])[0]]):
            raise InputError(f"prompt: got {odd}, expected words that the language model knows")
        room, got = self.positions - k - most, len(self.start(prompt))
        if prompt and got > room:
            raise InputError(
                f"prompt: got {got} tokens, expected at most {max(room, 0)}, as of {self.positions} positions {k} are "
                f"of the prefix and {most} of what is said"
            )

    def loss(self, prefix: Tensor, prompts: Sequence[str], answers: Sequence[str]) -> tuple[Tensor, int]:
        """Sum of the cross-entropies (nats) of all tokens of the answers and of their ends, and of how many.

        The model reads [prefix; BOS, prompt; answer, EOS]; prefix, BOS and prompt are not predicted. What is padding is
        known by length and not by its number, which may be that of EOS.

        Args:
            prefix: (b, k, d); k may be 0.
            prompts: (b,) beginnings, which may be empty.
            answers: (b,) what comes after them.

        Raises:
            InputError: a sentence is longer than the model has positions for.
        """
        k, device = prefix.shape[1], prefix.device
        starts, ends = self.starts(prompts), self.ends(prompts, answers)
        longest = max(len(a) + len(b) for a, b in zip(starts, ends, strict=True))
        if k + longest > self.positions:
            raise InputError(
                f"sentences: got {longest} tokens after a prefix of {k}, expected at most {self.positions} together"
            )
        ids = torch.zeros(len(ends), longest, dtype=torch.long)
        targets = torch.full((len(ends), k + longest), IGNORED)
        real = torch.zeros(len(ends), k + longest, dtype=torch.long)
        for i, (a, b) in enumerate(zip(starts, ends, strict=True)):
            ids[i, : len(a) + len(b)] = torch.tensor([*a, *b])
            targets[i, k + len(a) : k + len(a) + len(b)] = torch.tensor(b)
            real[i, : k + len(a) + len(b)] = 1
        inputs = torch.cat([prefix, self.embed(ids.to(device)).to(prefix.dtype)], dim=1)
        logits = self.model(inputs_embeds=inputs, use_cache=False, **self._seen(real.to(device))).logits
        found = functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(),
            targets[:, 1:].flatten().to(device),
            ignore_index=IGNORED,
            reduction="sum",
        )
        return found, int((targets[:, 1:] != IGNORED).sum())

    @staticmethod
    def _seen(real: Tensor) -> dict[str, Tensor]:
        """The mask of what is no padding, and positions that count from the first such."""
        return {"attention_mask": real, "position_ids": (real.cumsum(dim=1) - 1).clamp(min=0)}

    @torch.inference_mode()
    def say(self, prefix: Tensor, prompts: Sequence[str], most: int = MOST) -> list[str]:
        """Go on from prefixes, each word the likeliest, to the end of the sentence.

        Args:
            prefix: (b, k, d); with k = 0 and nothing to begin with, the end of another text is the beginning.
            prompts: (b,) beginnings, which are not repeated.
            most: tokens at most.
        """
        k, device = prefix.shape[1], prefix.device
        alone = [] if k else [self.tokenizer.eos_token_id]
        starts = [start or alone for start in self.starts(prompts)]
        longest = max(map(len, starts))
        inputs = prefix.new_zeros(len(starts), k + longest, prefix.shape[2])
        real = torch.zeros(len(starts), k + longest, dtype=torch.long, device=device)
        for i, ids in enumerate(starts):
            inputs[i, longest - len(ids) : k + longest - len(ids)] = prefix[i]
            if ids:
                inputs[i, k + longest - len(ids) :] = self.embed(torch.tensor([ids], device=device))[0]
            real[i, longest - len(ids) :] = 1
        told = self.model.generate(
            inputs_embeds=inputs,
            attention_mask=real,
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            pad_token_id=self.tokenizer.eos_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        texts = self.tokenizer.batch_decode(told, skip_special_tokens=True)
        return [re.sub(r" ([,.:;!?])", r"\1", text).strip() for text in texts]  # a word tokenizer joins by blanks
