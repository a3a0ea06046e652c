"""A copy of the tree without git, as an unpacked archive has it, and what a user runs in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
REPRO = (sys.executable, "-m", "stages.warm", "dvc", "repro", "dvc.yaml", "siblings/dvc.yaml")  # as make all
KEPT = ("jam", "stages", "presets", "dvc.yaml", "siblings", "pyproject.toml", ".dvcignore", ".gitignore")


def copy_tree(folder: Path) -> Path:
    """Make ``folder`` such a copy, without params.yaml."""
    folder.mkdir()
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "dvc.lock"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def environment(**more: str) -> dict[str, str]:
    """Of processes that tests start: the hub is far away."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1", **more}


def command(folder: Path, *words: str, **more: str) -> str:
    """Run a command that succeeds, and give what it says."""
    done = subprocess.run(words, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def new_checkout(folder: Path, preset: str) -> Path:
    """Make ``folder`` a copy of the tree on a preset, ready for `dvc repro`."""
    copy_tree(folder)
    command(folder, sys.executable, "-m", "stages.preset", preset)
    command(folder, "dvc", "init", "--no-scm", "--quiet")
    return folder


def refused(folder: Path, *words: str) -> str:
    """Run a stage in ``folder``, on the code of this tree: it ends with one line on stderr."""
    variables = environment(PYTHONPATH=str(ROOT))
    words = (sys.executable, "-m", *words)
    done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    return line
