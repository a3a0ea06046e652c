"""The wheel: all of the library is in it, and nothing of the checkout is needed. Imports run one way."""

import ast
import subprocess
import sys
import zipfile
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built without network and unpacked into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("jam", "stages", "README.md", "LICENSE", "pyproject.toml"):
        (source / name).symlink_to(ROOT / name)
    options = ("--quiet", "--no-deps", "--no-build-isolation")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", folder, source], check=True)
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def modules(folder):
    paths = [path for room in ("jam", "stages") for path in (folder / room).rglob("*.py")]
    return sorted(".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__") for path in paths)


def test_every_module_is_in_the_wheel_and_can_be_imported_from_it(installed):
    assert modules(installed) == modules(ROOT)
    script = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        f"from importlib import import_module\n"
        f"for name in {modules(installed)}:\n"
        f"    assert import_module(name).__file__.startswith({str(installed)!r}), name\n"
        f"import jam\nfor name in jam.__all__:\n    getattr(jam, name)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", script], check=True, cwd=installed)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("jam", ("torch", "pandas", "transformers", "pydantic")),
        ("stages.dataset", ("torch", "transformers")),
        ("jam.encoders", ("transformers", "huggingface_hub", "jam.features", "jam.world", "jam.pretrain.training")),
        ("stages.plots", ("torch", "transformers", "jam.metrics")),
    ],
)
def test_a_room_does_not_load_the_others(module, absent):
    script = f"import sys, {module}; print(*sorted(set({absent}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert found.split() == []


# Who may import whom: a room knows those that stand after it, and no room before it.
FLOORS = [
    {"score", "search", "train", "report", "caption"},
    {"compare"},
    {"sweep", "reality", "downstream", "reference", "widths", "hypotheses", "resampler", "multimodal"},
    {"evaluation"},
    {"align"},
    {"features", "pretrain"},
    {"encoders"},
    {"world", "sources"},
    {"data", "fit", "losses"},
    {"metrics", "params"},
    {"hub", "distributed", "device", "results", "parallel"},
    {"io", "progress"},
    {"errors", "lazy"},
]


def test_imports_run_one_way():
    floor_of = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    arrows = set()
    for path in (ROOT / "jam").rglob("*.py"):
        room = path.relative_to(ROOT / "jam").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            arrows |= {(room, name.split(".")[1]) for name in names if name.startswith("jam.")}
    arrows = {(a, b) for a, b in arrows if a != b and a != "__init__"}
    assert {room for arrow in arrows for room in arrow} <= set(floor_of)
    up = {(a, b) for a, b in arrows if floor_of[a] > floor_of[b]}
    assert not up, f"imports that run up: {up}"
    beside = {(a, b) for a, b in arrows if floor_of[a] == floor_of[b]}
    TopologicalSorter({a: {b for start, b in beside if start == a} for a, _ in beside}).prepare()  # none in a circle
