"""Several processes: the same features, and a dead one ends the stage with a line and no output."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_encoders import contents, random_rows, text_folder, vision_folder, write_rows

from jam.distributed import World, beside, connected, launched
from jam.encoders import Encoder
from jam.features import extract_features
from jam.parallel import in_processes

ROOT = Path(__file__).parent.parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(*command, cwd=None, **told):
    """A process with its output as one text."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **told}
    return subprocess.Popen(
        [sys.executable, *map(str, command)], env=environment, cwd=cwd, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def launch(size, *command, cwd=None):
    """All processes of a run, as a launcher starts them."""
    told = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [start(*command, cwd=cwd, **told, RANK=str(rank)) for rank in range(size)]


def all_well(processes):
    """Wait for them; their outputs."""
    outputs = [process.communicate(timeout=90)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(outputs)
    return outputs


def test_alone_nothing_is_waited_for(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with connected() as alone:
        assert alone == World() == launched()
        alone.meet("here")


@pytest.mark.parametrize(("n", "size"), [(7, 2), (2, 3), (9, 3), (1, 4)])
def test_shares_cover_everything_once(n, size):
    worlds = [World(rank, size) for rank in range(size)]
    assert sorted(i for each in worlds for i in each.share(range(n))) == list(range(n))


EXTRACT = """
import sys, time
from pathlib import Path
from jam.distributed import connected
from jam.encoders import Encoder
from jam.errors import InputError
from jam.features import extract_features
root, encoder, out, delay = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
def slow(items, total, label):
    for item in items:
        print("batch", flush=True)
        time.sleep(delay)
        yield item
try:
    with connected() as peers:
        print("joined", flush=True)
        model = Encoder.load(root / encoder, "cpu")
        views = root / "data" / "views" / f"{model.modality}.parquet"
        extract_features(model, views, root / out, scratch=root / f"scratch-{out}", batch_size=8, progress=slow,
                         world=peers)
except InputError as error:
    sys.exit(f"features: {error}")
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Two tables, two encoders, a script that extracts features, and what one process alone makes of them."""
    root = tmp_path_factory.mktemp("tables")
    (root / "extract.py").write_text(EXTRACT)
    write_rows(root / "data", **{split: random_rows(split, n, seed=n) for split, n in (("train", 45), ("test", 20))})
    for name, build in (("v", vision_folder), ("t", text_folder)):
        build(root / name)
        all_well(launch(1, root / "extract.py", root, name, f"{name}-alone", 0))
    return root


@pytest.mark.parametrize("encoder", ["v", "t"])
def test_any_number_of_processes_writes_the_same_features(tables, encoder):
    all_well(launch(3, tables / "extract.py", tables, encoder, f"{encoder}-three", 0))
    assert contents(tables / f"{encoder}-three") == contents(tables / f"{encoder}-alone")
    assert not list((tables / f"scratch-{encoder}-three").glob("*/*"))


def both(root, encoder, path, rank):
    model, prepared = Encoder.load(root / encoder, "cpu"), {}
    views = root / "data" / "views" / f"{model.modality}.parquet"
    with beside(path, rank, 2) as peers:
        for out in (f"{encoder}-first", f"{encoder}-second"):
            extract_features(
                model, views, root / out, scratch=root / f"scratch-{out}", batch_size=8, world=peers, prepared=prepared
            )
    return len(prepared)


@pytest.mark.parametrize("encoder", ["v", "t"])
def test_processes_of_one_host_share_the_batches_of_one_encoder_after_another(tables, encoder, tmp_path):
    calls = [(tables, encoder, str(tmp_path / "store"), rank) for rank in range(2)]
    assert min(in_processes(both, calls, 2)) > 1
    for out in ("first", "second"):
        assert contents(tables / f"{encoder}-{out}") == contents(tables / f"{encoder}-alone")


def test_a_dead_process_ends_the_others_within_a_minute_and_its_work_is_taken_up(tables):
    first, second = launch(2, tables / "extract.py", tables, "t", "x", 0.2)
    assert second.stdout is not None
    while second.stdout.readline() != "batch\n":
        assert second.poll() is None
    second.send_signal(signal.SIGKILL)
    begun = time.monotonic()
    output = first.communicate(timeout=60)[0]
    assert time.monotonic() - begun < 60
    assert first.returncode == 1
    lines = [line for line in output.splitlines() if line.startswith("features: ")]
    assert len(lines) == 1
    assert "process 1: another process of this run ended or fell silent" in lines[0]
    assert not (tables / "x").exists()
    all_well(launch(1, tables / "extract.py", tables, "t", "x", 0))  # one process takes up the work of two
    assert contents(tables / "x") == contents(tables / "t-alone")


def test_two_agents_run_a_stage_as_two_nodes_do(tables):
    """torchrun twice on 127.0.0.1, one process each, with the rendezvous in the environment alone."""
    torchrun = ["-m", "torch.distributed.run", "--nnodes", 2, "--nproc_per_node", 1, "--rdzv_backend", "c10d"]
    torchrun += ["--rdzv_endpoint", f"127.0.0.1:{free_port()}", "--rdzv_id", "jam"]
    script = [tables / "extract.py", tables, "t", "agents", 0]
    all_well([start(*torchrun, "--rdzv_conf", f"is_host={int(node == 0)}", *script) for node in range(2)])
    assert contents(tables / "agents") == contents(tables / "t-alone")


def test_other_stages_run_in_the_first_process_alone(tmp_path):
    (tmp_path / "stage.py").write_text(
        "from stages.common import run\ndef main():\n    print('working')\n    return 'done'\n"
        "if __name__ == '__main__':\n    run(main)\n"
    )
    first, second = all_well(launch(2, tmp_path / "stage.py", cwd=tmp_path))
    assert "working" in first
    assert second == ""


def test_a_stage_that_is_told_to_stop_says_so_in_one_line(tmp_path):
    """As torchrun tells the processes that are left, and a cluster those whose time is up."""
    (tmp_path / "stage.py").write_text(
        "import time\nfrom stages.common import run\n"
        "def main():\n    print('working', flush=True)\n    time.sleep(60)\n"
        "if __name__ == '__main__':\n    run(main)\n"
    )
    process = start(tmp_path / "stage.py", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.terminate()
    error = process.communicate(timeout=30)[0]
    assert process.returncode == 1
    assert error == "stage: interrupted by SIGTERM; nothing half-written is left, run again to go on\n"
