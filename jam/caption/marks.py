"""Which words of a sentence are right of a scene."""

import re

import numpy as np

from jam.caption.scenes import SAID, matched, mentions_of, right, said, things_of
from jam.world.lexicon import HYPERNYMS, NOUNS, WORDS
from jam.world.state import scene_of

Marked = tuple[str, bool | None]
"""A word, and whether it is right; None where it says nothing of a scene, or nothing that could be read."""

_ABOUT = {
    **{word: name for name in ("digit", "colour", "size") for words in WORDS[name] for word in words},
    **{word: "cell" for name in ("row", "column") for words in WORDS[name] for word in words},
    **{word: name for name, words in HYPERNYMS.items() for word in words},
    **dict.fromkeys(NOUNS, "digit"),
}


def marked(caption: str, state: np.ndarray) -> list[Marked]:
    """The words of a caption with their marks, things taken for those of the scene that they fit best.

    Things are told apart by commas and "and"; a caption that is no sentence of the language has no marks.
    """
    parts = re.split(r"( and |, )", caption)
    mentions = [mentions_of(part if i == 0 else f"there is {part}") for i, part in enumerate(parts[::2])]
    if mentions_of(caption) is None or any(each is None or len(each) != 1 for each in mentions):
        return [(word, None) for word in caption.split()]
    told = [each[0] for each in mentions if each is not None]
    things = things_of(scene_of(state))
    of = dict(matched(told, things))
    found: list[Marked] = []
    for i, part in enumerate(parts):
        mention = told[i // 2]
        true = right(mention, things[of[i // 2]]) if i // 2 in of else []
        for word in part.split():
            name = _ABOUT.get(word.strip(","))
            known = i % 2 == 0 and name in SAID and said(mention, name)
            found.append((word, name in true if known else None))
    return found
