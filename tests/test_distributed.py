"""Several processes: the same features, and a dead one ends the stage with a line and no output."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_encoders import contents, pairs_table, text_folder, vision_folder

from jam.distributed import World, connected, launched

ROOT = Path(__file__).parent.parent
TESTS = Path(__file__).parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**more):
    paths = os.pathsep.join([str(ROOT), str(TESTS)])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


def start(rank, size, port, script, *args):
    """One process of a run, as a launcher starts it."""
    told = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, script, *map(str, args)], env=environment(**told), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def together(size, script, *args):
    """All processes of a run: their outputs, and whether all ended well."""
    port = free_port()
    processes = [start(rank, size, port, script, *args) for rank in range(size)]
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
        tables = {split: root / f"{split}.parquet" for split in ("train", "test")}
        extract_features(Encoder.load(root / encoder, "cpu"), tables, root / out, scratch=root / f"scratch-{out}",
                         batch_size=8, progress=slow, world=peers)
except InputError as error:
    sys.exit(f"features: {error}")
"""


@pytest.fixture
def tables(tmp_path):
    for split, n in (("train", 45), ("test", 20)):
        pairs_table(tmp_path / f"{split}.parquet", n, seed=n)
    vision_folder(tmp_path / "v")
    text_folder(tmp_path / "t")
    (tmp_path / "extract.py").write_text(EXTRACT)
    return tmp_path


@pytest.mark.parametrize("encoder", ["v", "t"])
def test_any_number_of_processes_writes_the_same_features(tables, encoder):
    together(1, tables / "extract.py", tables, encoder, "one", 0)
    together(3, tables / "extract.py", tables, encoder, "three", 0)
    assert contents(tables / "three") == contents(tables / "one")
    assert not list((tables / "scratch-three").glob("*/*"))


def test_a_dead_process_ends_the_others_within_a_minute_and_its_work_is_taken_up(tables):
    together(1, tables / "extract.py", tables, "t", "one", 0)
    port = free_port()
    first, second = (start(rank, 2, port, tables / "extract.py", tables, "t", "x", 0.2) for rank in range(2))
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
    together(1, tables / "extract.py", tables, "t", "x", 0)  # one process takes up the work of two
    assert contents(tables / "x") == contents(tables / "one")


def test_two_agents_run_a_stage_as_two_nodes_do(tables):
    """torchrun twice on 127.0.0.1, one process each, with the rendezvous in the environment alone."""
    port = free_port()
    agents = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1",
             "--rdzv_backend", "c10d", "--rdzv_endpoint", f"127.0.0.1:{port}", "--rdzv_id", "jam",
             "--rdzv_conf", f"is_host={int(node == 0)}", str(tables / "extract.py"), str(tables), "t", "agents", "0"],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for node in range(2)
    ]  # fmt: skip
    outputs = [agent.communicate(timeout=90)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], "\n".join(outputs)
    together(1, tables / "extract.py", tables, "t", "one", 0)
    assert contents(tables / "agents") == contents(tables / "one")


def test_other_stages_run_in_the_first_process_alone(tmp_path):
    (tmp_path / "stage.py").write_text(
        "from stages.common import run\ndef main():\n    print('working')\n    return 'done'\n"
        "if __name__ == '__main__':\n    run(main)\n"
    )
    done = [
        subprocess.run(
            [sys.executable, tmp_path / "stage.py"], env=environment(RANK=str(rank), WORLD_SIZE="2"), cwd=tmp_path,
            capture_output=True, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    assert "working" in done[0].stdout
    assert done[1].stdout == ""
    assert [each.returncode for each in done] == [0, 0]


def test_a_stage_that_is_told_to_stop_says_so_in_one_line(tmp_path):
    """As torchrun tells the processes that are left, and a cluster those whose time is up."""
    (tmp_path / "stage.py").write_text(
        "import time\nfrom stages.common import run\n"
        "def main():\n    print('working', flush=True)\n    time.sleep(60)\n"
        "if __name__ == '__main__':\n    run(main)\n"
    )
    process = subprocess.Popen(
        [sys.executable, tmp_path / "stage.py"], env=environment(), cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.terminate()
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error == "stage: interrupted by SIGTERM; nothing half-written is left, run again to go on\n"
