"""Folders that users name: nothing is lost that is not written anew."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jam.errors import InputError
from jam.io import atomic_folder, atomic_path, replace_folder, write_json

ROOT = Path(__file__).parent.parent


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


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_killed_process_left_is_gone_after_the_next_write(tmp_path, whole):
    """And what one that still runs is writing stays."""
    write = atomic_folder if whole else atomic_path
    child = subprocess.run(
        [sys.executable, "-c", f"""
import os, signal
from jam.io import {write.__name__}
with {write.__name__}({str(tmp_path / "out")!r}) as part:
    (part / "half" if part.is_dir() else part).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""],
        cwd=ROOT,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    [left] = tmp_path.iterdir()
    living = left.with_name(left.name.rsplit("-", 1)[0] + f"-{os.getppid()}")
    living.write_text("of another process")
    with write(tmp_path / "out") as part:
        (part / "whole" if part.is_dir() else part).write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", living.name])
