"""Make params.yaml of a preset. Not a stage of the graph.

presets/cave.yaml is the default, whole; the others state what differs from it: a key that is null is deleted, the
sections listed under ``replace`` are emptied first, comments stay.

By hand:  python -m stages.preset photos
          python -m stages.preset cave      and back
"""

import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from jam.errors import InputError
from jam.io import atomic_path
from jam.params import Params, load_params
from stages.common import METRICS, PLOTS, SPACES, run, say

PRESETS, PARAMS, KEPT = Path("presets"), Path("params.yaml"), Path("params.before.yaml")
DEFAULT = "cave"


def names() -> list[str]:
    """All presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def built(name: str) -> str:
    """The text of params.yaml for a preset.

    Raises:
        InputError: there is no such preset.
    """
    if name not in names():
        raise InputError(f"preset: got {name!r}, expected one of {names()}")
    base = (PRESETS / f"{DEFAULT}.yaml").read_text(encoding="utf-8")
    if name == DEFAULT:
        return base
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    path = PRESETS / f"{name}.yaml"
    try:
        whole, difference = yaml.load(base), yaml.load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise InputError(f"{path}: expected YAML, got {' '.join(str(error).split())}") from error
    if not isinstance(difference, CommentedMap):
        raise InputError(f"{path}: got {type(difference).__name__}, expected sections that differ from {DEFAULT}'s")
    for section in difference.pop("replace", []):
        whole[section] = CommentedMap()
    merge(whole, difference)
    whole.ca.comment = difference.ca.comment  # what stands at the head of the file
    text = io.StringIO()
    yaml.dump(whole, text)
    return text.getvalue()


def merge(into: Any, difference: Any) -> None:
    """Write what differs into a mapping, section by section."""
    for key, value in difference.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict) and into[key]:
            merge(into[key], value)
        else:
            into[key] = value


def changed(text: str) -> bool:
    """Whether parameters are those of no preset."""
    for name in names():
        with suppress(InputError):  # one that is half-written
            if built(name) == text:
                return False
    return True


def free_names() -> Iterator[str]:
    """params.before, params.before.2, …"""
    yield KEPT.stem
    yield from (f"{KEPT.stem}.{number}" for number in count(2))


def main(name: str) -> str:
    """Write params.yaml; say where the old one is if it was no preset's, and which results stay that are of another."""
    text = built(name)
    with atomic_path(PARAMS) as part:
        part.write_text(text, encoding="utf-8")
        try:
            params = load_params(part)
        except InputError as error:
            raise InputError(str(error).replace(str(part), str(PRESETS / f"{name}.yaml"))) from error
        if PARAMS.is_file() and changed(PARAMS.read_text(encoding="utf-8")):
            kept = next(path for path in map(KEPT.with_stem, free_names()) if not path.exists())
            PARAMS.replace(kept)
            say(f"{PARAMS} had changes of your own; it is in {kept} now")
    if kept_results := left_over(params):
        say(
            f"{METRICS}/, {PLOTS}/ and {SPACES}/ keep what is of spaces that {name} does not have "
            f"({', '.join(kept_results)}), and {METRICS}/README.md its text; for a folder with results of its own: "
            f"python -m stages.world NAME {name}"
        )
    return f"{PARAMS} is that of {PRESETS / f'{name}.yaml'}; {first_of_all(params)}run dvc repro"


def left_over(params: Params) -> list[str]:
    """Spaces with results or adapters here, of which the parameters know nothing; DVC does not remove them."""
    found = {path.stem for path in (METRICS / "evaluate").glob("*.json")}
    found |= {path.parent.parent.name for path in SPACES.glob("*/*/space.json")}
    return sorted(found - set(params.space_names))


def first_of_all(params: Params, folder: Path = Path()) -> str:
    """What is to be done before ``dvc repro``: DVC tells of a folder that is not there by its number of an error."""
    if params.dataset.source != "folder" or (folder / params.dataset.reads).is_dir():
        return ""
    return f"put images and metadata.jsonl into {folder / params.dataset.reads}, then "


if __name__ == "__main__":
    run(main, name=f"one of {', '.join(names())}")
