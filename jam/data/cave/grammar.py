"""Scene → sentences: captions that are true and complete, and hard negatives that are wrong in exactly one thing.

A caption is spoken from a `Plan`: a sentence form, the order of mention and a choice among synonyms. None of the three
shows in the image. Synonyms come in parallel lists (every value has the same number), so a hard negative is the same
plan spoken of a scene that differs in one thing: the shortest edit, and a sentence of the same language that is true
of another scene of the world, so that the text alone never betrays it. No form has an indefinite article before a word
that could need "an", so an edit never spills over into a neighbouring word.
"""

from dataclasses import dataclass, replace

import numpy as np

from jam.data.cave.scenes import ATTRIBUTES, SIDES, Scene, pick

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "digit": {str(i): (word,) for i, word in enumerate(_NUMBERS)},
    "color": {color: (color,) for color in ATTRIBUTES["color"]},
    "size": {"small": ("small", "tiny"), "large": ("large", "huge")},
    "height": {height: (height,) for height in ATTRIBUTES["height"]},
}
_STYLES = np.array([len(next(iter(words.values()))) for words in WORDS.values()])
_LEVEL = "near the {}"  # a height that stands alone

# Fields end in the order of mention: {side0} is the side of the thing that is mentioned first.
_A, _B = "{size0} {color0} {digit0}", "{size1} {color1} {digit1}"
_AT_A, _AT_B = "{height0} {side0}", "{height1} {side1}"
# A place stands right before what it is the place of: a sentence encoder whose tokens are averaged (MiniLM) tells which
# thing is on which side from neighbouring words alone, and loses it where they are far apart.
ONE_THING_FORMS = (
    f"a {_AT_A} {_A}",
    f"there is a {_AT_A} {_A}",
    f"{_AT_A} {_A}",
    f"only a {_A} {{level0}} on the {{side0}}",
)
POSITIONAL_FORMS = (
    f"a {_AT_A} {_A} and a {_AT_B} {_B}",
    f"there is a {_AT_A} {_A} beside a {_AT_B} {_B}",
    f"{_AT_A} {_A}, {_AT_B} {_B}",
)
RELATIONAL_FORMS = (f"a {_A} {{level0}} to the {{side0}} of a {_B} {{level1}}",)  # one word, {side0}, tells both sides
TWO_THING_FORMS = POSITIONAL_FORMS + RELATIONAL_FORMS


@dataclass(frozen=True)
class Plan:
    """How to say it: sentence form, sides in order of mention, and for each mention the synonym of each attribute."""

    form: str
    order: tuple[str, ...]
    styles: tuple[tuple[int, ...], ...]


def draw_plan(scene: Scene, rng: np.random.Generator) -> Plan:
    """Draw form, order and synonyms uniformly."""
    sides = scene.sides
    forms = ONE_THING_FORMS if len(sides) == 1 else TWO_THING_FORMS
    form = pick(forms, rng)
    order = pick((sides, sides[::-1]), rng)
    styles = rng.integers(0, _STYLES, (len(sides), len(_STYLES)))
    return Plan(form, order, tuple(map(tuple, styles.tolist())))


def speak(scene: Scene, plan: Plan) -> str:
    """Say the scene in the words of the plan."""
    fields = {}
    for mention, (side, styles) in enumerate(zip(plan.order, plan.styles, strict=True)):
        fields[f"side{mention}"] = side
        for name, value, style in zip(ATTRIBUTES, scene.thing(side), styles, strict=True):
            fields[f"{name}{mention}"] = WORDS[name][value][style]
        fields[f"level{mention}"] = _LEVEL.format(fields[f"height{mention}"])
    return plan.form.format(**fields)


def describe(scene: Scene, count: int, rng: np.random.Generator) -> list[tuple[str, Plan]]:
    """Return ``count`` different captions of a scene, each with its plan; every one mentions every attribute."""
    captions: dict[str, Plan] = {}
    while len(captions) < count:
        plan = draw_plan(scene, rng)
        captions.setdefault(speak(scene, plan), plan)
    return list(captions.items())


def hard_negatives(scene: Scene, plans: list[Plan], rng: np.random.Generator) -> list[dict[str, str | int]]:
    """One hard negative of each kind that the scene allows, each an edit of a caption drawn at random.

    ``replace_object`` changes a digit, ``replace_attribute`` a colour or a size, ``swap_attribute`` exchanges colours
    or sizes of two things that differ in them, and ``replace_relation`` turns left into right, or the reverse, in a
    relational form; elsewhere it changes a height, or for a thing alone its side or height. The kinds are named as in
    SugarCrepe (Hsieh et al. 2023, arXiv 2306.14610).

    Args:
        scene: the true scene.
        plans: the plans of its captions, in the order of the captions.
        rng: source of all choices.

    Returns:
        Rows of the ``negatives`` column: kind, tier "hard", text, and ``of``, the number of the caption edited.
    """

    def other(side: str, attribute: str) -> Scene:
        now = getattr(scene.thing(side), attribute)
        return scene.replaced(side, attribute, pick([value for value in ATTRIBUTES[attribute] if value != now], rng))

    negatives: list[dict[str, str | int]] = []
    for kind in ("replace_object", "replace_attribute", "swap_attribute", "replace_relation"):
        of = int(rng.integers(len(plans)))
        plan = plans[of]
        side = pick(scene.sides, rng)
        attribute = pick(("color", "size"), rng)
        if kind == "replace_object":
            false = other(side, "digit")
        elif kind == "replace_attribute":
            false = other(side, attribute)
        elif kind == "swap_attribute":
            differing = (
                [name for name in ("color", "size") if scene.swapped(name) != scene] if len(plan.order) == 2 else []
            )
            if not differing:
                continue
            attribute = pick(differing, rng)
            false, plan = scene.swapped(attribute), _with_styles_swapped(plan, attribute)
        elif _can_mirror(scene, plan, rng):
            opposite = tuple(SIDES[1 - SIDES.index(mentioned)] for mentioned in plan.order)
            false, plan = scene.mirrored(), replace(plan, order=opposite)
        else:
            false = other(side, "height")
        negatives.append({"kind": kind, "tier": "hard", "text": speak(false, plan), "of": of})
    return negatives


def _with_styles_swapped(plan: Plan, attribute: str) -> Plan:
    """Let the words themselves change places, so that a swap is the same bag of words as its caption."""
    i = list(ATTRIBUTES).index(attribute)
    first, second = (list(styles) for styles in plan.styles)
    first[i], second[i] = second[i], first[i]
    return replace(plan, styles=(tuple(first), tuple(second)))


def _can_mirror(scene: Scene, plan: Plan, rng: np.random.Generator) -> bool:
    """Whether turning one side word round gives another scene: relational forms, and every other time a thing alone."""
    if len(plan.order) == 1:
        return bool(rng.integers(2))
    return plan.form in RELATIONAL_FORMS and scene.mirrored() != scene
