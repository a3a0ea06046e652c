"""The README's tables and numbers are those of the committed metrics."""

import re
from pathlib import Path

import pytest

from jam.io import read_json
from jam.params import load_params
from jam.report.tables import fill, number
from jam.results import read_results
from stages.common import UNIFORM
from stages.readme import FILES, built_tables
from stages.results import all_results, curves, verdicts

ROOT = Path(__file__).parent.parent


def test_the_tables_are_those_of_the_committed_results(monkeypatch):
    monkeypatch.chdir(ROOT)
    control = read_results([UNIFORM])
    found = built_tables(all_results(), curves(load_params()), load_params(), verdicts(), control)
    markers = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert fill(text, found) == text
        markers += re.findall(r"<!-- table (\w+) -->", text)
    assert set(markers) == set(found)


def test_prose_quotes_no_number_that_is_not_in_a_built_table():
    """Decimals of the text, such as .812, stand in some table of it; versions and settings are written as code."""
    tables, prose = "", ""
    for path in FILES:
        text = (ROOT / path).read_text(encoding="utf-8")
        tables += "".join(re.findall(r"<!-- table \w+ -->.*?<!-- end -->", text, re.DOTALL))
        text = re.sub(r"<!-- table \w+ -->.*?<!-- end -->|```.*?```|`[^`]*`|\(http[^)]*\)", "", text, flags=re.DOTALL)
        prose += text
    quoted = set(re.findall(r"(?<![\d.\w])\.\d{2,3}(?!\d)", prose))
    assert quoted <= set(re.findall(r"(?<!\d)\.\d{2,3}(?!\d)", tables)), "numbers of the prose that no table has"


def test_what_dvc_metrics_show_prints_is_what_is_committed():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    header, *lines = next(block for block in text.split("```\n") if block.startswith("Path ")).splitlines()
    names = header.split()[1:]
    for path, *cells in (line.split() for line in lines):
        told = read_json(ROOT / path)
        assert cells == [f"{round(told[name], 4)}" if name in told else "-" for name in names], path
    assert len(lines) == len(load_params(ROOT / "params.yaml").space_names)


def test_filling_replaces_what_is_between_markers_and_nothing_else():
    text = "a\n<!-- table x -->\nold\n<!-- end -->\nb\n<!-- table x -->\n<!-- end -->\n"
    assert fill(text, {"x": "| n |"}).count("| n |") == 2
    assert "old" not in fill(text, {"x": "| n |"})
    with pytest.raises(ValueError, match="got table 'x'"):
        fill(text, {"y": ""})


@pytest.mark.parametrize(("value", "text"), [(0.8123, ".812"), (1.0, "1.000"), (-0.034, "−.034"), (12.5, "12.500")])
def test_numbers_read_as_in_tables_of_recalls(value, text):
    assert number(value) == text


def test_every_path_that_the_readme_names_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert (ROOT / path).is_file(), path
