"""A choice among several spaces: of one run only, and with a p that counts all of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_train import world

import jam
from jam.align.adapter import Adapter
from jam.align.items import Items
from jam.align.looks import Candidate, Looks, choose
from jam.align.rows import join_sides
from jam.align.space import Side, Space, best_of, read_space
from jam.align.validation import DRAWS, Validation
from jam.errors import InputError

WHERE = Path("spaces")
DRAWN = [0.1] * 195 + [0.2] * 5  # 200 draws


def candidate(name, score, best=DRAWN, items="a", layer=1, seen="f", known=True):
    chosen = {"validation_score": score, "validation_recall": score, "validation_p": 1 / 201, "validation_null": 0.1}
    looks = Looks(items, {"image": seen}, score, list(best)) if known else None
    sides = {"image": {"encoder": "v", "layer": layer}}
    return Candidate(WHERE / name, {"sides": sides, "pairs": [], "chosen": chosen, "looks": looks})


def random_adapters(seed):
    rng = np.random.default_rng(seed)
    return {name: _linear(rng, width) for name, width in (("image", 14), ("text", 12))}


def _linear(rng, width):
    adapter = Adapter("linear", width, 3)
    for weights in adapter.parameters():
        weights.data.copy_(weights.new_tensor(rng.normal(size=tuple(weights.shape))))
    return adapter.eval()


def test_the_joint_p_is_that_of_one_record_of_all_looks():
    """The best of two spaces that were validated apart has the p that it has where one record saw both."""
    pairs, rows = [("image", "text")], world(30, 0)
    one, other, both = (Validation(rows, pairs) for _ in range(3))
    for validation, seeds in ((one, range(5)), (other, range(5, 9)), (both, range(9))):
        for seed in seeds:
            validation.scores(random_adapters(seed))
    last = max(map(random_adapters, range(5, 9)), key=lambda adapters: other.looks(adapters).recall)
    apart = Candidate(WHERE / "a", {"sides": {}, "pairs": [], "chosen": {}, "looks": one.looks(last)})
    best = Candidate(
        WHERE / "b", {"sides": {}, "pairs": [], "chosen": {"validation_score": 1}, "looks": other.looks(last)}
    )
    choice = choose([apart, best], WHERE)
    assert choice.folder == WHERE / "b"
    assert {name: choice.chosen[name] for name in ("validation_null", "validation_p")} == both.chance(last)
    assert both.chance(last)["validation_null"] > other.chance(last)["validation_null"]  # they differ at all


def test_each_space_that_was_tried_counts_once_more():
    """Draws that reach .3 in twelve spaces, in other draws in each: together they are enough to doubt the best."""
    twelve = [
        candidate(f"s{i}/0", 0.3 - i / 1000, [0.3 if draw % 200 == i else 0.1 for draw in range(200)])
        for i in range(12)
    ]
    assert choose(twelve[:1], WHERE).chosen["validation_p"] == 2 / 201
    choice = choose(twelve, WHERE)
    assert (choice.folder, choice.number) == (WHERE / "s0/0", 12)
    assert choice.chosen["validation_p"] == 13 / 201
    old = [candidate(f"s{i}/0", 0.3 - i / 100, known=False) for i in range(12)]
    assert choose(old, WHERE).chosen["validation_p"] == pytest.approx(12 / 201)  # no draws: Bonferroni


@pytest.mark.parametrize("other", [{"items": "b"}, {"seen": "g"}, {"known": False}])
def test_other_rows_and_other_features_of_the_same_encoder_are_another_run(other):
    spaces = [candidate("con/0", 0.3), candidate("con/1", 0.2), candidate("old/0", 0.9, **other)]
    with pytest.raises(
        InputError, match=r"^spaces: got spaces of 2 runs, .*: \{con\} and \{old\}; expected those of one"
    ):
        choose(spaces, WHERE)


def test_another_layer_of_the_same_rows_is_of_the_same_run():
    assert choose([candidate("a/0", 0.3), candidate("b/0", 0.4, layer=2, seen="g")], WHERE).folder == WHERE / "b/0"


def table(width, ids):
    features = np.random.default_rng(width).normal(size=(len(ids), width)).astype(np.float32)
    index = pd.DataFrame({"id": ids, "split": "val", "role": "true", "k": 0, "tier": None, "of": None})
    return features, index


def looks_of(items: Items):
    (x, _), (y, _) = ((name, side) for name, side in items.sides.items())
    adapters = {name: Adapter("linear", side.table.shape[1], 2) for name, side in items.sides.items()}
    return Validation(items, [(x, y)]).looks(adapters)


def test_items_are_known_by_their_ids_whatever_encoder_saw_them():
    ids = [f"{i}.jpg" for i in range(20)]
    one, other = (looks_of(join_sides({"image": table(w, ids), "text": table(5, ids)}, "val")) for w in (6, 7))
    assert one.items == other.items
    assert one.sides["text"] == other.sides["text"]
    assert one.sides["image"] != other.sides["image"]
    moved = [*ids[1:], ids[0]]
    assert looks_of(join_sides({"image": table(6, moved), "text": table(5, moved)}, "val")).items != one.items
    without = Items(join_sides({"image": table(6, ids), "text": table(5, ids)}, "val").sides)
    assert looks_of(without).items != looks_of(Items(join_sides({"image": table(7, ids), "text": table(5, ids)}, "val").sides)).items  # fmt: skip  # noqa: E501


def test_looks_are_saved_with_a_space_and_stay_through_a_move(tmp_path):
    rows = Validation(world(30, 0), [("image", "text")])
    adapters = random_adapters(0)
    rows.scores(adapters)
    looks = rows.looks(adapters)
    assert len(looks.best) == DRAWS
    space = Space({name: Side(adapter) for name, adapter in adapters.items()}, [("image", "text")], looks=looks)
    space.save(tmp_path / "a")
    jam.Space.load(tmp_path / "a").save(tmp_path / "b")
    assert read_space(tmp_path / "b")["looks"] == looks
    assert best_of([tmp_path / "a", tmp_path / "b"], tmp_path).chosen == looks.chance()
    text = (tmp_path / "a" / "space.json").read_text()
    (tmp_path / "a" / "space.json").write_text(text.replace('"best": [', '"best": ["many", '))
    with pytest.raises(InputError, match="expected the sides and the pairs of a space"):
        read_space(tmp_path / "a")
