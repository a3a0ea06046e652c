"""A small lexicon of what captions of photos talk about: attributes and objects, in families that exclude each other.

Within a family, words between two bars are near-synonyms: each may be true where another is, so none is put in the
place of another. Words of different groups of one family are taken to exclude each other. Objects are the 80 COCO
categories (Lin et al. 2014, arXiv 1405.0312) in their supercategories, less those whose word has a second meaning
("mouse", "orange", "glass"), and people, clothes, places and ground as photo captions name them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Form = Literal["attribute", "singular", "plural", "mass"]
Words = tuple[str, ...]  # casefolded

_ATTRIBUTES = {
    "colour": "red | blue | green | yellow | purple, violet | pink | brown, tan, beige | black | white | gray, grey"
    " | orange",
    "size": "small, little, tiny | large, big, huge, giant",
    "length": "long | short",
    "age": "young | old, elderly",
    "material": "wooden | metal | plastic | stone | brick | leather | concrete",
    "pattern": "striped | plaid, checkered | spotted | floral",
    "wetness": "wet | dry",
    "cleanness": "clean | dirty, muddy",
    "weather": "sunny | cloudy, overcast | rainy | snowy",
    "gender": "male | female",
    "number": "two | three | four | five | six | seven | eight | nine | ten",
}

_OBJECTS = {
    "person": "person",
    "adult": "man, guy, gentleman | woman, lady",
    "gendered child": "boy | girl",
    "child": "child, kid, toddler, baby, infant | adult",
    "sport role": "surfer | skier | skateboarder | snowboarder | cyclist, biker | swimmer | climber | golfer",
    "animal": "dog, puppy | cat, kitten | horse, pony | cow, bull, calf | elephant | bear | zebra | giraffe | goat"
    " | bird, seagull, pigeon, duck, parrot | monkey | rabbit | pig | lion | tiger",
    "vehicle": "car, taxi | bus | truck | van | train | boat, ship, canoe, kayak, sailboat | bicycle, bike"
    " | motorcycle, motorbike, bike, scooter | airplane, plane, jet, aeroplane | tractor | helicopter",
    "street": "traffic light | fire hydrant, hydrant | stop sign | parking meter | bench | mailbox",
    "bag": "backpack, bag | handbag, purse, bag | suitcase | basket",
    "accessory": "umbrella | tie, necktie | camera | book",
    "sport": "frisbee | snowboard | ball, soccer ball, tennis ball, basketball | kite | bat, baseball bat | skateboard"
    " | surfboard | racket, racquet, tennis racket, tennis racquet | baseball glove",
    "tableware": "bottle | wine glass | cup, mug | fork | knife | spoon | bowl | plate",
    "food": "banana | apple | sandwich | carrot | hot dog | pizza | donut, doughnut | cake | hamburger, burger",
    "furniture": "chair, stool, armchair | couch, sofa | bed | table, desk, dining table | potted plant",
    "fixture": "toilet | sink | shower | bathtub, tub",
    "electronics": "tv, television, monitor | laptop, computer | keyboard | phone, cell phone, cellphone, telephone"
    " | remote, remote control",
    "appliance": "microwave | oven, stove | toaster | refrigerator, fridge",
    "ornament": "clock | vase | teddy bear | mirror | candle | lamp",
    "clothes": "shirt, t-shirt | jacket, coat | dress | skirt | sweater, hoodie",
    "headwear": "hat, cap | helmet | scarf",
    "room": "kitchen | bathroom | bedroom | living room | classroom | office",
    "place": "beach | park | street, road, sidewalk | forest | field, meadow | pool, swimming pool | stadium",
    "nature": "tree | rock, boulder | mountain, hill, cliff | bush",
    "structure": "building, house | fence | bridge | tower | tent",
}

_MASS = {"ground": "snow | sand | grass | water | mud", "flock": "sheep"}

_PLURALS = {
    "man": "men", "woman": "women", "gentleman": "gentlemen", "person": "people", "child": "children",
    "knife": "knives", "calf": "calves", "scarf": "scarves",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What one word, or compound of words, is.

    Attributes:
        words: as written, casefolded.
        family: of things that exclude each other.
        groups: numbers of the groups of near-synonyms within the family; a word may be in several.
        form: of which words may take its place in a sentence.
    """

    words: Words
    family: str
    groups: frozenset[int]
    form: Form

    @property
    def is_object(self) -> bool:
        """Whether it is a noun."""
        return self.form != "attribute"

    def agrees(self, other: "Entry") -> bool:
        """Whether both may be true of one thing: the same word, or near-synonyms."""
        return self.family == other.family and bool(self.groups & other.groups)


def _plural(noun: str) -> str:
    *first, last = noun.split()
    if last in _PLURALS:
        last = _PLURALS[last]
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = f"{last[:-1]}ies"
    else:
        last += "es" if last.endswith(("s", "x", "z", "ch", "sh")) else "s"
    return " ".join([*first, last])


def _entries(families: Mapping[str, str], form: Form) -> list[Entry]:
    found = []
    for family, text in families.items():
        groups: dict[str, set[int]] = {}
        for number, group in enumerate(text.split(" | ")):
            for noun in group.split(", "):
                groups.setdefault(_plural(noun) if form == "plural" else noun, set()).add(number)
        found += [Entry(tuple(noun.split()), family, frozenset(numbers), form) for noun, numbers in groups.items()]
    return found


LEXICON: Mapping[Words, Entry] = {
    entry.words: entry
    for entry in [
        *_entries(_ATTRIBUTES, "attribute"),
        *_entries(_OBJECTS, "singular"),
        *_entries(_OBJECTS, "plural"),
        *_entries(_MASS, "mass"),
    ]
}
LONGEST = max(map(len, LEXICON))  # words of a compound


def alternatives(entry: Entry) -> list[Entry]:
    """What may stand in the place of ``entry`` and makes a true sentence false, in the order of the lexicon."""
    return [
        other
        for other in LEXICON.values()
        if other.family == entry.family and other.form == entry.form and not other.agrees(entry)
    ]
