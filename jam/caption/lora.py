"""Low-rank changes of a language model's attention (Hu et al. 2021), by peft: the extra ``lora`` of this package."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from jam.caption.language import Language
from jam.errors import InputError

TARGETS = {"gpt2": ["c_attn"]}  # queries, keys and values in one matrix
OTHERS = ["q_proj", "v_proj"]
NEEDED = "got no package peft, expected it: pip install 'jam-align[lora]'"


def with_lora(language: Language, rank: int, seed: int) -> Language:
    """A copy of a language model with new low-rank parts that train beside the projector; at first they change nothing.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise InputError(f"lora: {NEEDED}") from error
    fused = TARGETS.get(language.model.config.model_type)
    how: dict[str, Any] = {"target_modules": fused or OTHERS, "fan_in_fan_out": fused is not None}  # GPT-2's are Conv1D
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, task_type="CAUSAL_LM", **how)
    torch.manual_seed(seed)  # of A; B is 0
    model: Any = get_peft_model(deepcopy(language.model), config)
    return Language(model, language.tokenizer)


def load_lora(language: Language, folder: Path) -> Language:
    """A language model with the low-rank parts of a folder, which `Language.model.save_pretrained` wrote.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise InputError(f"{folder}: {NEEDED}") from error
    return Language(PeftModel.from_pretrained(language.model, folder).eval(), language.tokenizer)


def without_lora(language: Language) -> Language:
    """A language model as it was before; the one given keeps its low-rank parts."""
    return Language(deepcopy(language.model).unload(), language.tokenizer) if language.lora else language
