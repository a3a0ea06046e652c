"""The one registry of what readers see: of every name its label, and of a metric its chance, ceiling and direction."""

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric as readers know it.

    Attributes:
        label: what it is called.
        better: which values are better.
        chance: what a guess scores; None where it depends on the data, see the null of a result.
        ceiling: the best possible score, if there is one.
    """

    label: str
    better: Literal["higher", "lower"] = "higher"
    chance: float | None = None
    ceiling: float | None = 1.0


# In the order of tables
METRICS: dict[str, Metric] = {
    "recall": Metric("recall"),
    "true_recall": Metric("true R@1"),
    "average_precision": Metric("mAP"),
    "fine_recall": Metric("fine R@1"),
    "mrr": Metric("mean reciprocal rank"),
    "median_rank": Metric("median rank", "lower"),
    "hard_negatives": Metric("hard negatives", chance=0.5),
    "preservation": Metric("structure kept"),
    "preservation_whitened": Metric("structure that mere whitening keeps"),
    "private": Metric("private factors", chance=0.0),
    "reconstruction_r2": Metric("R²", chance=0.0),
    "alignment": Metric("distance of pairs", "lower", ceiling=0.0),
    "uniformity": Metric("uniformity", "lower", ceiling=None),
    "modality_gap": Metric("modality gap", "lower", ceiling=0.0),
    "mutual_knn": Metric("mutual kNN"),
    "unbiased_cka": Metric("CKA (unbiased)", chance=0.0),
    "cka": Metric("CKA (biased)"),
    "cknna": Metric("CKNNA"),
    "svcca": Metric("SVCCA"),
    "cca": Metric("CCA"),
    "rsa": Metric("RSA", chance=0.0),
    "cknna_platonic": Metric("CKNNA (Huh et al.'s code)"),
    "svcca_platonic": Metric("SVCCA (Huh et al.'s code)"),
    "procrustes_cosine": Metric("cosine after a rotation", chance=0.0),
    "predictability": Metric("predictability, R²", chance=0.0),
    "printed_cka": Metric("“CKA” as printed"),
    "ami": Metric("adjusted mutual information", chance=0.0),
    "auprc": Metric("average precision"),
    "conformity": Metric("share in order", chance=0.5),
    "slope": Metric("added similarity", chance=0.0, ceiling=None),
    "effective_rank": Metric("effective rank", ceiling=None),
    "checkpoint": Metric("% of the training", ceiling=None),
    "reality_recall": Metric("recall of reality", chance=0.0),
    "binding": Metric("binding", chance=0.0),
    "precision": Metric("precision of reality", chance=0.0),
    "reality_kernel": Metric("kernel of reality", chance=0.0),
    "factor_cka": Metric("CKA with a factor", chance=0.0),
    "pmi_kernel": Metric("CKA with the world's PMI", chance=0.0),
    "probe": Metric("linear probe"),
    "knn": Metric("nearest neighbours"),
    "few_shot": Metric("a few examples a class"),
    "zero_shot": Metric("by prompts"),
    "zero_shot_balanced": Metric("by prompts, mean over classes"),
    "probe_difference": Metric("linear probe, after − earlier", chance=0.0),
    "knn_difference": Metric("nearest neighbours, after − earlier", chance=0.0),
    "few_shot_difference": Metric("a few examples a class, after − earlier", chance=0.0),
    "d_prime": Metric("d′", chance=0.0, ceiling=None),
    "d_prime_difference": Metric("d′, after − before", chance=0.0, ceiling=None),
    "norm": Metric("largest |‖z‖ − 1|", "lower", ceiling=0.0),
    "diagonal": Metric("cosine of pairs − of others", chance=0.0),
    "gradient_norm": Metric("norm of the gradient", ceiling=None),
    "attention_entropy": Metric("entropy of attention", "lower", chance=1.0, ceiling=0.0),
    "latent_diversity": Metric("diversity of latents", chance=0.0, ceiling=None),
    "latent_rank": Metric("effective rank of latents", ceiling=None),
    "exact_scene": Metric("exact scene", chance=0.0),
    "binding_error": Metric("binding error", "lower", ceiling=0.0),
    "misbound": Metric("misbound where all words are right", "lower", ceiling=0.0),
    "misplaced": Metric("wrong words that are in the scene", "lower", ceiling=None),
    "repeated": Metric("a thing repeated", "lower", ceiling=0.0),
    "said_recall": Metric("said truly"),
    "said_precision": Metric("truth of what is said"),
    "omission": Metric("omissions", "lower", ceiling=0.0),
    "hallucination": Metric("hallucinations", "lower", ceiling=0.0),
    "unparseable": Metric("no sentence", "lower", ceiling=0.0),
    "distinct": Metric("distinct sentences"),
    "cider_d": Metric("CIDEr-D", ceiling=10.0),
    "bleu": Metric("BLEU-4"),
    "answer": Metric("right answers"),
    "pairs_needed": Metric("pairs needed", "lower", ceiling=None),
    "pairs_crossing": Metric("pairs where methods cross", "lower", ceiling=None),
    "r2": Metric("R² of what was foretold", chance=0.0),
    "rank_correlation": Metric("rank correlation", chance=0.0),
    "coefficient": Metric("coefficient", ceiling=None),
    "hypervolume": Metric("hypervolume", ceiling=None),
    "lost": Metric("share of the own R@10 that is lost", "lower", chance=1.0, ceiling=0.0),
    "balanced_accuracy": Metric("balanced accuracy"),
    "accuracy": Metric("accuracy"),
    "agreement": Metric("agreement with the teacher"),
    "kappa": Metric("Cohen's κ with the teacher", chance=0.0),
    "parameters": Metric("parameters", ceiling=None),
    "multiply_adds": Metric("multiply-adds a query", "lower", ceiling=None),
    "width": Metric("width", ceiling=None),
    "quality": Metric("quality"),
    "perplexity": Metric("perplexity", "lower", ceiling=None),
    "unknown": Metric("unknown words", "lower", ceiling=0.0),
}

LABELS: dict[str, str] = {
    "con": "Con", "negcon": "NegCon", "spread": "Spread",
    "spread_curriculum": "Spread, α rising", "linear": "linear, Con", "mlp": "MLP, Con",
    "matryoshka": "Matryoshka", "separate": "trained for the width", "truncation": "first dimensions",
    "principal": "principal axes", "random": "random dimensions", "binding": "swaps (binding)", "other": "other edits",
    "shared": "shared resampler", "unshared": "a resampler a side", "mean_pool": "mean of tokens",
    "own_keys": "latents among the keys", "talking": "latents read each other", "unmasked": "padding read",
    "latents_16": "16 latents", "latents_64": "64 latents", "depth_2": "2 layers", "depth_4": "4 layers",
    "token_mlp": "tokens through an MLP", "mean_mlp": "mean of tokens through an MLP",
    "mean_feed": "an MLP of the mean of tokens",
    "tokens": "tokens", "z": "z of the space", "latents": "latents of the resampler", "oracle": "oracle",
    "k_1": "prefix of 1", "k_4": "prefix of 4", "linear_prefix": "linear", "transformer": "transformer",
    "resampled": "resampler", "text_alone": "learned from sentences alone",
    "questions": "questions", "lora": "with LoRA", "pooled": "pooled features", "oracle_lora": "oracle, with LoRA",
    "linear_negcon": "linear, NegCon", "mlp_negcon": "MLP, NegCon",
    "ceiling": "oracle and parser, CCA", "ridge": "ridge", "procrustes": "Procrustes", "cca": "CCA",
    "matched": "matched", "easy": "another item's view", "hard": "one thing changed",
    "vision_s": "labels S", "vision_m": "labels M", "vision_l": "labels L",
    "simclr_s": "SimCLR S", "simclr_m": "SimCLR M", "simclr_l": "SimCLR L",
    "text_s": "next word S", "text_m": "next word M", "text_l": "next word L", "text_mlm": "masked M",
    "paraphrase_s": "paraphrases S", "paraphrase_m": "paraphrases M",
    "bag_of_words": "bag of words", "minilm": "MiniLM",
    "clip_a": "CLIP-like", "clip_b": "CLIP-like, seed 1", "align_like": "ALIGN-like", "blip_like": "BLIP-like",
    "flava_like": "FLAVA-like", "clip_conv": "CLIP-like, convnet", "clip_few": "CLIP-like, few pairs",
    "clip_small": "CLIP-like, small",
}  # fmt: skip

# Of hard negatives: those of the embedded world, and of SugarCrepe; a data set has some of them
KINDS = (
    "replace_digit", "replace_colour", "replace_size", "replace_place", "swap_digit", "swap_colour",
    "replace_object", "replace_attribute", "swap_object", "swap_attribute", "add_object", "add_attribute",
    "replace_relation", "word_order", "given",
)  # fmt: skip
TIERS = ("easy", "medium", "hard")
MISMATCHES = ("matched", "hard", "easy")


def label(name: str) -> str:
    """What a reader sees for a name; NAME_seed1 is that of another seed."""
    if again := re.fullmatch(r"(.+)_seed(\d+)", name):
        return f"{label(again[1])}, seed {again[2]}"
    return METRICS[name].label if name in METRICS and name not in LABELS else LABELS.get(name, name.replace("_", " "))


def metric(name: str) -> str:
    """What a reader sees for the name of a metric."""
    return METRICS[name].label
