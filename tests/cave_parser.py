"""Scenes to draw from, and a reader that shares no code with the cave's grammar: sentence → scene as plain tuples."""

import re

from hypothesis import strategies as st

from jam.data.cave.scenes import ATTRIBUTES, Scene, Thing

THINGS = st.builds(Thing, *(st.sampled_from(values) for values in ATTRIBUTES.values()))
SCENES = st.builds(Scene, st.none() | THINGS, st.none() | THINGS).filter(lambda scene: scene.sides)

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MEANING = {
    "digit": {word: str(i) for i, word in enumerate(NUMBERS)},
    "color": {color: color for color in ("red", "orange", "yellow", "green", "blue", "purple", "white")},
    "size": {"small": "small", "tiny": "small", "large": "large", "huge": "large"},
    "height": {"top": "top", "middle": "middle", "bottom": "bottom"},
}


def thing(n):
    return rf"(?P<size{n}>\w+) (?P<color{n}>\w+) (?P<digit{n}>\w+)"


def place(n):
    return rf"(?P<height{n}>\w+) (?P<side{n}>left|right)"


def level(n):
    return rf"near the (?P<height{n}>\w+)"


SIDE = r"(?P<side0>left|right)"
ONE = [
    f"a {place(0)} {thing(0)}",
    f"there is a {place(0)} {thing(0)}",
    f"{place(0)} {thing(0)}",
    f"only a {thing(0)} {level(0)} on the {SIDE}",
]
POSITIONAL = [
    f"a {place(0)} {thing(0)} and a {place(1)} {thing(1)}",
    f"there is a {place(0)} {thing(0)} beside a {place(1)} {thing(1)}",
    f"{place(0)} {thing(0)}, {place(1)} {thing(1)}",
]
RELATIONAL = [f"a {thing(0)} {level(0)} to the {SIDE} of a {thing(1)} {level(1)}"]
FORMS = ONE + POSITIONAL + RELATIONAL


def read(sentence):
    """Return the scene as {side: (digit, color, size, height)}, the form's number and the side mentioned first.

    Exactly one form must match, and each word must be known for what it stands for.
    """
    matches = [(number, match) for number, form in enumerate(FORMS) if (match := re.fullmatch(form, sentence))]
    assert len(matches) == 1, (sentence, [number for number, _ in matches])
    number, match = matches[0]
    found = {name: value for name, value in match.groupdict().items() if value is not None}
    scene = {}
    for n in range(1 if number < len(ONE) else 2):
        side = found.get(f"side{n}", {"left": "right", "right": "left"}[found["side0"]])
        assert side not in scene, sentence
        scene[side] = tuple(MEANING[name][found[f"{name}{n}"]] for name in ("digit", "color", "size", "height"))
    first = min(scene, key=lambda side: match.start("digit0") if side == found["side0"] else match.start("digit1"))
    return scene, number, first
