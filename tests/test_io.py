"""Folders that users name: nothing is lost that is not written anew."""

from pathlib import Path

import pytest

from jam.errors import InputError
from jam.io import replace_folder, write_json


def save(path: str | Path, text: str = "new") -> None:
    with replace_folder(path, "mark.json", keys=("kind",)) as part:
        write_json(part / "mark.json", {"kind": text})
        (part / "sub").mkdir()
        (part / "sub" / "weights").write_text(text)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("there", ["absent", "empty", "ours", "link"])
def test_a_folder_that_is_new_empty_or_ours_is_replaced(tmp_path: Path, there: str) -> None:
    folder = real = tmp_path / "a" / "saved"
    if there == "empty":
        folder.mkdir(parents=True)
    if there == "ours":
        save(folder, "old")
    if there == "link":
        real = tmp_path / "elsewhere"
        save(real, "old")
        folder.parent.mkdir()
        folder.symlink_to(real)
    save(folder)
    assert (folder / "sub" / "weights").read_text() == "new"
    assert folder.is_symlink() == (there == "link")
    assert {path.name for path in real.parent.iterdir()} <= {"saved", "elsewhere", "a"}  # nothing unfinished


@pytest.mark.parametrize("path", [".", "..", "", "/", "here/../..", "file", "foreign", "likewise", "mixed", "nested"])
def test_anything_else_is_refused_in_one_line_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    Path("file").write_text("mine")
    Path("foreign").mkdir()
    Path("foreign", "photo.jpg").write_text("mine")
    write_json("likewise/mark.json", {"of": "another program"})
    save("mixed", "old")
    Path("mixed", "notes.txt").write_text("mine")
    save("nested", "old")
    Path("nested", "sub", "notes.txt").write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(InputError) as refused:
        save(path)
    assert "\n" not in str(refused.value)
    assert "expected" in str(refused.value)
    assert everything(tmp_path) == before
