"""Files of the hub: each promise that a user feels, against a hub on 127.0.0.1."""

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.constants as constants
import pytest
import yaml
from hub_server import Fault, _Handler
from tiny_encoders import contents
from tiny_hub import save_tiny

from jam.encoders import Encoder
from jam.encoders.hub import hub_manifest
from jam.errors import InputError
from jam.hub import snapshot
from jam.io import read_json

BIG = bytes(range(256)) * 40
FILES = {"config.json": b"{}", "model.safetensors": BIG, "empty.txt": b"", "onnx/model.json": b"[1]"}


@pytest.fixture
def hub(loopback, monkeypatch):
    """A hub with one model and one data set, an empty cache, and a library whose waits take no time."""
    loopback.add("tiny/model", FILES)
    loopback.add("tiny/set", {"data/train.parquet": BIG, "README.md": b"#"}, "datasets", "v1")
    quick = SimpleNamespace(sleep=lambda seconds: None, time=time.time)
    monkeypatch.setattr("huggingface_hub.file_download.time", quick)
    monkeypatch.setattr("huggingface_hub.utils._http.time", quick)
    return loopback


def fetch(**options):
    return snapshot("tiny/model", **options)


def fails(match, **options):
    with pytest.raises(InputError, match=match) as caught:
        fetch(**options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("hub model")


def test_a_model_and_a_data_set_are_fetched_once(hub, tmp_path):
    folder = fetch()
    assert contents(folder) == FILES
    commit = hub.repos["models", "tiny/model"]["main"][0]
    assert folder == tmp_path / "cache" / "models--tiny--model" / "snapshots" / commit
    rows = snapshot("tiny/set", "v1", "dataset", ["data/*"])
    assert contents(rows) == {"data/train.parquet": BIG}
    assert rows.parent.parent.name == "datasets--tiny--set"
    hub.requests.clear()
    assert fetch() == folder
    assert [request.path.split("?")[0] for request in hub.requests] == ["/api/models/tiny/model/revision/main"]
    hub.requests.clear()
    assert fetch(revision=folder.name) == folder  # a commit needs no look at the hub
    assert hub.requests == []


def test_patterns_say_what_is_fetched_and_what_is_not(hub):
    folder = fetch(patterns=["*.json"], ignore=["*/*"])
    assert set(contents(folder)) == {"config.json"}
    assert set(contents(fetch(revision=folder.name, patterns=["*.json"]))) == {"config.json", "onnx/model.json"}
    assert hub.asked("safetensors") == []
    assert contents(fetch(revision=folder.name)) == FILES  # a folder with half of it is not taken for all


def test_a_branch_that_moved_is_seen_and_its_equal_files_are_not_fetched_again(hub):
    first = fetch()
    hub.add("tiny/model", FILES | {"config.json": b'{"new": 1}'})
    hub.requests.clear()
    second = fetch()
    assert (first.name, contents(first)) != (second.name, contents(second))
    assert [request.path.rsplit("/")[-1] for request in hub.asked("/resolve/")] == ["config.json"]
    assert contents(first) == FILES
    hub.add("tiny/model", {"a": b"1"}, revision="refs/pr/1")
    assert contents(fetch(revision="refs/pr/1")) == {"a": b"1"}


def test_a_busy_hub_is_asked_again_and_a_file_that_broke_off_goes_on_where_it_stood(hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.faults = [
        Fault("safetensors", 2, status=429, headers={"Retry-After": "1"}),
        Fault("safetensors", 2, after=2000),
    ]
    assert contents(fetch()) == FILES
    ranges = [request.headers.get("range") for request in hub.asked("safetensors")]
    assert ranges == [None, None, None, "bytes=2000-", "bytes=4000-"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])  # sha256, and git's hash
@pytest.mark.parametrize("killed", [False, True], ids=["", "killed before it was verified"])
def test_content_of_another_hash_is_never_accepted(hub, name, killed):
    hub.faults = [Fault(name, 1, corrupt=True)]
    if killed:
        huggingface_hub.snapshot_download("tiny/model", endpoint=hub.address)
    fails(f"got content of another hash than the hub lists in {name}; it is thrown away")
    hub.requests.clear()
    assert contents(fetch()) == FILES
    assert [request.path.rsplit("/")[-1] for request in hub.asked("/resolve/")] == [name]  # the others are kept


def test_killed_in_a_file_it_keeps_those_that_were_whole(hub, tmp_path):
    hub.faults = [Fault("safetensors", 1, hold=(held := threading.Event()))]
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "from jam.hub import snapshot; snapshot('tiny/model')"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], env=environment)
    snapshots = tmp_path / "cache" / "models--tiny--model" / "snapshots"
    deadline = time.monotonic() + 60
    while not (hub.asked("safetensors") and sum(path.is_file() for path in snapshots.rglob("*")) == 3):
        assert time.monotonic() < deadline, "the other files did not come"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    held.set()
    hub.requests.clear()
    assert contents(fetch()) == FILES
    assert [request.path.rsplit("/")[-1] for request in hub.asked("/resolve/")] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("/api/", status=503), "503 .*; expected a hub in HF_ENDPOINT"),
        (Fault("/api/", status=403), "gated; accept its terms on its page, then hf auth login or set HF_TOKEN"),
        (Fault("/api/", status=401, headers={"X-Error-Code": "GatedRepo"}), "gated; accept its terms"),
        (Fault("/api/", status=401), "no such repository, or a private one; check the name, or hf auth login"),
        (Fault("/resolve/", status=403), "gated"),  # the list is public, the files are not
        (Fault("safetensors", status=503), "503"),
        (Fault("safetensors", after=0), "RemoteProtocolError"),
        (Fault("/tree/", status=503), "503"),  # nothing to verify it by
    ],
)
def test_what_does_not_pass_is_one_line_and_spoils_nothing(hub, fault, reason):
    hub.faults = [fault]
    fails(f"hub model tiny/model@main: .*{reason}")
    hub.faults = []
    assert contents(fetch()) == FILES


def test_unknown_repositories_and_revisions_are_told_apart(hub):
    fails("no such revision; expected a branch, a tag or a commit", revision="nosuch")
    with pytest.raises(InputError, match=r"hub dataset tiny/model@main: .*no such repository"):
        snapshot("tiny/model", repo_type="dataset")
    with pytest.raises(InputError, match="hub model: got 'a/b/c', expected owner/name"):
        snapshot("a/b/c")


def test_without_a_network_it_is_one_line_or_the_cache(hub, monkeypatch):
    folder = fetch(patterns=["*.json"])
    nowhere = "http://127.0.0.1:1"
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere + "/{repo_id}/resolve/{revision}/{filename}")
    assert fetch(patterns=["*.json"]) == folder
    fails("ConnectError.*; expected a hub in HF_ENDPOINT, or HF_HUB_OFFLINE=1 and a filled cache")  # not all of it


def test_offline_only_the_cache_is_asked(hub, monkeypatch):
    folder = huggingface_hub.snapshot_download("tiny/model", endpoint=hub.address, allow_patterns=["*.json"])
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(patterns=["*.json"]) == Path(folder)  # by whomever it was filled
    fails("HF_HUB_OFFLINE is set; expected a connection once, or a filled HF_HOME")
    fails("HF_HUB_OFFLINE is set", revision="0" * 40)
    assert hub.requests == []


@pytest.mark.parametrize("answer", [b"<html>log in to the hotel's network</html>", b'{"sha": "0"}', b"[]"])
def test_an_answer_of_no_hub_is_one_line(hub, monkeypatch, answer):
    monkeypatch.setattr(_Handler, "_api", lambda self, *_, **__: self._answer(200, answer, {}))
    fails("expected a hub in HF_ENDPOINT")


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil"])
def test_names_that_lead_out_of_the_cache_are_refused(hub, tmp_path, name):
    hub.add("tiny/model", {name: b"1"})
    fails("Invalid filename")
    assert not list(tmp_path.rglob("evil"))


def test_a_full_disk_keeps_what_was_whole(hub, monkeypatch):
    real = huggingface_hub.file_download.http_get

    def full(url, *rest, **options):
        if "safetensors" in url:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(url, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", full)
        fails(r"hub model tiny/model@main: the disk is full; free some space, .* \(cache: .*cache\)")
    assert contents(fetch()) == FILES


# --- encoders ---------------------------------------------------------------------------------------------------------


def test_an_encoder_comes_from_the_hub_pinned_and_changes_with_it(hub, tmp_path):
    files = contents(save_tiny(tmp_path / "model", "bert"))
    commit = hub.add("tiny/bert", files | {"pytorch_model.bin": b"pickle", "evil.py": b"1", "onnx/config.json": b"{}"})
    encoder = Encoder.load("tiny/bert", device="cpu")
    manifest = encoder.manifest
    assert (manifest.id, manifest.asked, manifest.revision) == ("tiny/bert", "main", commit)
    assert manifest.sha256 == hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert encoder.encode(["red seven"]).shape == (1, 8)
    for never in (".bin", ".py", "onnx"):
        assert not hub.asked(never)
    manifest.write(tmp_path)
    hub.add("tiny/bert", files | {"README.md": b"other"})
    changed = hub_manifest("tiny/bert", modality="text")
    changed.write(tmp_path / "model")
    assert read_json(tmp_path / "encoder.json") != read_json(tmp_path / "model" / "encoder.json")
    assert changed.sha256 == manifest.sha256
    hub.requests.clear()
    Encoder.load(tmp_path, device="cpu")  # what is pinned needs no network
    assert hub.requests == []


def test_sharded_weights(hub, tmp_path):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(save_tiny(tmp_path / "model", "bert"))
    (tmp_path / "model" / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "model", max_shard_size="2KB")
    hub.add("tiny/bert", contents(tmp_path / "model"))
    encoder = Encoder.load("tiny/bert", device="cpu")
    assert len(hub.asked("-of-")) > 1
    for name, value in model.state_dict().items():
        assert value.equal(encoder.model.state_dict()[name])


def test_weights_that_were_altered_in_the_cache_say_what_to_delete(hub, tmp_path):
    hub.add("tiny/bert", contents(save_tiny(tmp_path / "model", "bert")))
    manifest = hub_manifest("tiny/bert", modality="text")
    manifest.write(tmp_path)
    repo = tmp_path / "cache" / "models--tiny--bert"
    (repo / "snapshots" / str(manifest.revision) / "model.safetensors").resolve().write_bytes(b"altered")
    with pytest.raises(InputError, match=f"expected {manifest.sha256} .*delete {repo} to have it fetched again"):
        Encoder.load(tmp_path, device="cpu")
    shutil.rmtree(repo)
    assert Encoder.load(tmp_path, device="cpu").manifest == manifest


def test_the_encoder_stage_pins_a_hub_model(hub, tmp_path, monkeypatch):
    from stages import encoder as stage

    hub.add("tiny/bert", contents(save_tiny(tmp_path / "model", "bert")), revision="v2")
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    spec = {
        "modality": "text",
        "source": "hub",
        "reads": "jam/hub.py",
        "model": "tiny/bert",
        "revision": "v2",
        "max_tokens": 9,
    }
    params["encoders"]["tiny"] = spec
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    commit = hub.repos["models", "tiny/bert"]["v2"][0]
    assert stage.main("tiny") == f"found tiny/bert, {commit}; encoder in data/encoders/tiny"
    manifest = read_json("data/encoders/tiny/encoder.json")
    assert manifest["asked"] == "v2"
    assert (manifest["revision"], manifest["pooling"], manifest["max_tokens"]) == (commit, "mean", 9)
    assert Encoder.load("data/encoders/tiny", device="cpu").max_tokens == 9


def test_pickled_weights_alone_are_refused(hub, tmp_path):
    files = contents(save_tiny(tmp_path / "model", "bert"))
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    hub.add("tiny/bert", files)
    with pytest.raises(InputError, match=r"expected model\.safetensors, found none .*refs/pr/NUMBER"):
        hub_manifest("tiny/bert", modality="text")
