"""n-gram scores of sentences against references: BLEU-4 and CIDEr-D, of tokens that are split at blanks."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

Grams = list[Counter[tuple[str, ...]]]
MOST = 4
SIGMA = 6.0  # of CIDEr-D's penalty for another length


@lru_cache(2**14)  # references are asked again for every table of sentences
def grams(sentence: str) -> Grams:
    """How often each run of 1 … 4 words is in a sentence; to be read, not changed."""
    words = sentence.split()
    return [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, MOST + 1)]


def bleu(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU-4 of a corpus, 0 to 1, without smoothing (Papineni et al. 2002).

    Args:
        sentences: (n,).
        references: (n,) one or more of each; the closest in length gives the brevity penalty, the shorter of equals.
    """
    hits, total, length, expected = [0] * MOST, [0] * MOST, 0, 0
    for sentence, others in zip(sentences, references, strict=True):
        mine, theirs = grams(sentence), [grams(other) for other in others]
        for n in range(MOST):
            most: Counter[tuple[str, ...]] = Counter()
            for other in theirs:
                most |= other[n]
            hits[n] += (mine[n] & most).total()
            total[n] += mine[n].total()
        size = len(sentence.split())
        length += size
        expected += min((abs(len(other.split()) - size), len(other.split())) for other in others)[1]
    if not length or min(hits) == 0:
        return 0.0
    precision = math.exp(sum(math.log(hit / count) for hit, count in zip(hits, total, strict=True)) / MOST)
    return precision * min(1.0, math.exp(1 - expected / length))


def cider_d(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each sentence, 0 to 10 (Vedantam et al. 2015): clipped tf·idf cosines, the mean over n and references.

    How many images have an n-gram in a reference is counted on these references.

    Args:
        sentences: (n,).
        references: (n,) one or more of each.
    """
    theirs = [[grams(other) for other in others] for others in references]
    images = [[set().union(*(other[n] for other in others)) for n in range(MOST)] for others in theirs]
    frequency: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(MOST)]
    for image in images:
        for n in range(MOST):
            frequency[n].update(image[n])
    count = math.log(len(sentences))

    def weighted(found: Grams) -> list[dict[tuple[str, ...], float]]:
        return [
            {gram: times * (count - math.log(max(1, frequency[n][gram]))) for gram, times in found[n].items()}
            for n in range(MOST)
        ]

    scores = []
    for sentence, others, told in zip(sentences, theirs, references, strict=True):
        mine, total = weighted(grams(sentence)), 0.0
        for other, text in zip(others, told, strict=True):
            penalty = math.exp(-((len(sentence.split()) - len(text.split())) ** 2) / (2 * SIGMA**2))
            total += penalty * sum(map(_cosine, mine, weighted(other))) / MOST
        scores.append(10 * total / len(others))
    return scores


def _cosine(mine: dict[tuple[str, ...], float], other: dict[tuple[str, ...], float]) -> float:
    """With the sentence's weights clipped at those of the reference."""
    product = sum(min(weight, other.get(gram, 0.0)) * other.get(gram, 0.0) for gram, weight in mine.items())
    norms = math.sqrt(sum(w * w for w in mine.values())) * math.sqrt(sum(w * w for w in other.values()))
    return product / norms if norms else 0.0
