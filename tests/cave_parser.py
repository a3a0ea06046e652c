"""A reader of the cave's language that shares no code with its grammar: sentence → scene as plain tuples."""

import re

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MEANING = {
    "digit": {
        **{word: str(i) for i, word in enumerate(NUMBERS)},
        **{str(i): str(i) for i in range(10)},
    },
    "color": {
        **{color: color for color in ("red", "orange", "yellow", "green", "blue", "purple", "white")},
        "crimson": "red",
        "tangerine": "orange",
        "golden": "yellow",
        "emerald": "green",
        "azure": "blue",
        "violet": "purple",
        "ivory": "white",
    },
    "size": {"small": "small", "tiny": "small", "little": "small", "large": "large", "big": "large", "huge": "large"},
    "height": {
        "top": "top",
        "upper": "top",
        "middle": "middle",
        "central": "middle",
        "bottom": "bottom",
        "lower": "bottom",
    },
}


def thing(n):
    return rf"(?P<size{n}>\w+) (?P<color{n}>\w+) (?:figure )?(?P<digit{n}>\w+)"


def place(n):
    return rf"(?P<height{n}>\w+) (?P<side{n}>left|right)"


def level(n):
    return rf"(?:near the (?P<height{n}>top|middle|bottom)|in the (?P<height_{n}>upper|central|lower) part)"


SIDE = r"(?P<side0>left|right)"
DIGIT = r"(?:figure )?(?P<digit{}>\w+)"
LOOKS = r"(?P<size{0}>\w+) and (?P<color{0}>\w+)"
ONE = [
    f"a {thing(0)} at the {place(0)}",
    f"at the {place(0)} there is a {thing(0)}",
    f"{place(0)}: {thing(0)}",
    f"the {place(0)} {DIGIT.format(0)} is {LOOKS.format(0)}",
    f"on the {SIDE} a {thing(0)} {level(0)}",
    f"only a {thing(0)} {level(0)} on the {SIDE}",
]
POSITIONAL = [
    f"a {thing(0)} at the {place(0)} and a {thing(1)} at the {place(1)}",
    f"at the {place(0)} a {thing(0)}, at the {place(1)} a {thing(1)}",
    f"{place(0)}: {thing(0)}; {place(1)}: {thing(1)}",
    f"the {place(0)} {DIGIT.format(0)} is {LOOKS.format(0)}, the {place(1)} {DIGIT.format(1)} {LOOKS.format(1)}",
]
RELATIONAL = [
    f"a {thing(0)} {level(0)} to the {SIDE} of a {thing(1)} {level(1)}",
    f"{SIDE} of a {thing(1)} {level(1)} is a {thing(0)} {level(0)}",
    f"a {thing(1)} {level(1)} has a {thing(0)} {level(0)} on its {SIDE}",
]
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
        words = {**found, f"height{n}": found.get(f"height{n}") or found.get(f"height_{n}")}
        assert side not in scene, sentence
        scene[side] = tuple(MEANING[name][words[f"{name}{n}"]] for name in ("digit", "color", "size", "height"))
    first = min(scene, key=lambda side: match.start("digit0") if side == found["side0"] else match.start("digit1"))
    return scene, number, first
