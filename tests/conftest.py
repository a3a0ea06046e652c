"""For all tests: how they share the cores, wheels of a folder, and a hub on the loopback."""

import os

import huggingface_hub.constants as constants
import pytest
import torch
from hub_server import serving
from threadpoolctl import threadpool_limits

LONGEST = ("test_pipeline.py", "test_presets.py")  # minutes each: first, so that all processes end at about one time


def pytest_configure(config):
    """Each of several test processes keeps to its share of the cores: more threads than cores are ten times slower."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        threads = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # for the processes that tests start
        torch.set_num_threads(threads)
        threadpool_limits(threads)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)
    if not os.environ.get("JAM_REGISTRY"):
        for item in items:
            if item.get_closest_marker("registry"):
                item.add_marker(pytest.mark.skip(reason="downloads from the package index: JAM_REGISTRY=1"))


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels, all that pip knows, and an empty cache."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("JAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "index"


@pytest.fixture
def loopback(tmp_path, monkeypatch):
    """A hub without anything on 127.0.0.1, and an empty cache."""
    with serving() as (server, address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        server.address = address
        yield server
