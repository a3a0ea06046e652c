"""The README's tables and numbers are those of the committed metrics."""

from pathlib import Path

import pytest

from jam.report import fill, number
from stages.readme import built

ROOT = Path(__file__).parent.parent


def test_the_tables_are_those_of_the_committed_results(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert built(text) == text
    assert text.count("<!-- table ") == 14


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
    import re

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert (ROOT / path).is_file(), path
