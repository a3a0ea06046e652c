"""Stages forked from a warm process: what they print and how they end is as if each were started anew."""

import os
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from checkout import ROOT, environment

from jam.errors import InputError
from jam.parallel import in_processes

PROBE = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ.get("MARK"), sys.stdin.read())
end = {"text": "a line", "number": 3, "none": None}
if sys.argv[1] == "error":
    raise ValueError("broken")
if sys.argv[1] == "wait":
    import time
    print("waiting", flush=True)
    time.sleep(60)
sys.exit(end[sys.argv[1]])
"""


def said(folder, *words, launcher=""):
    script = " ".join(words)
    words = ("bash", "-c", script) if launcher == "" else (sys.executable, "-m", "stages.warm", "bash", "-c", script)
    variables = environment(MARK="x", PYTHONPATH=str(ROOT))
    done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, input="in", timeout=120)
    return done.returncode, done.stdout, done.stderr.splitlines()[-1:]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "probe.py").write_text(PROBE)
    return tmp_path


def test_a_stage_says_and_ends_as_one_that_is_started_anew(folder):
    lines = [
        f'${{LAUNCH:-{sys.executable}}} -m probe {how} "two words"; echo $?;' for how in ("text", "number", "none")
    ]
    lines.append(f"${{LAUNCH:-{sys.executable}}} -m probe error")
    warm = said(folder, *lines, launcher="warm")
    assert warm == said(folder, *lines)
    assert warm[0] == 1
    assert warm[2] == ["ValueError: broken"]


def test_many_stages_in_a_row_and_one_without_a_server(folder):
    """The server lives on after each stage, however soon the one that asked hangs up; without it stages start anew."""
    start = f"${{LAUNCH:-{sys.executable}}} -m probe none < /dev/null"
    code, out, _ = said(folder, f"for i in $(seq 40); do {start} || exit 9; done;", launcher="warm")
    assert (code, out.count("['none']")) == (0, 40)
    code, out, _ = said(folder, f"{sys.executable} -S {ROOT / 'stages' / 'warm.py'} nowhere -m probe none")
    assert (code, out.count("['none']")) == (0, 1)


def test_another_launcher_is_left_alone(folder):
    done = subprocess.run(
        [sys.executable, "-m", "stages.warm", "bash", "-c", "echo $LAUNCH"], cwd=ROOT, env=environment(LAUNCH="mine"),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "mine\n"


def test_a_stage_ends_with_the_one_that_asked_for_it(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.warm", "bash", "-c", "echo | $LAUNCH -m probe wait & read line; kill -9 $!"],
        cwd=folder, env=environment(PYTHONPATH=str(ROOT)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    while "waiting" not in process.stdout.readline():
        assert process.poll() is None
    process.communicate("now\n", timeout=30)  # it would wait for a minute
    end = time.monotonic() + 20
    while living(process.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert living(process.pid) == []


def living(session):
    """Processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            found += [path.parent.name] if int(fields[3]) == session and fields[0] != "Z" else []
    return found


def of(value):
    if value == 3:
        os._exit(1)
    if value == 7:
        raise InputError("seven")
    return {"square": value * value, "tensor": torch.full((1000,), float(value))}


def test_copies_of_a_warm_process_give_what_new_ones_do(monkeypatch):
    torch.ones(1 << 20).sum()  # with all threads: in a copy there are none of them
    calls = [(value,) for value in (0, 1, 2, 4)]
    new = sorted((one["square"], one["tensor"].tolist()) for one in in_processes(of, calls, 2))
    monkeypatch.setenv("JAM_FORK", "1")
    copies = sorted((one["square"], one["tensor"].tolist()) for one in in_processes(of, calls, 2))
    assert copies == new
    with pytest.raises(BrokenProcessPool):
        list(in_processes(of, [(value,) for value in range(6)], 2))
    with pytest.raises(InputError, match="seven"):
        list(in_processes(of, [(value,) for value in (6, 7, 8, 9)], 2))
