"""Downloads that survive: every fault of a hub, against a hub on 127.0.0.1."""

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants as constants
import pytest
import yaml
from hub_server import Fault, serving
from tiny_hub import save_tiny

from jam import hub as module
from jam.encoders import Encoder
from jam.encoders.hub import hub_manifest
from jam.errors import InputError
from jam.hub import MIRROR, Patience, snapshot
from jam.io import read_json

BIG = bytes(range(256)) * 40
FILES = {"config.json": b"{}", "model.safetensors": BIG, "empty.txt": b"", "onnx/model.json": b"[1]"}
QUICK = Patience(tries=3, first=0.01, longest=0.05, timeout=0.3)


@pytest.fixture
def hub(loopback):
    """A hub with one model and one data set, and an empty cache."""
    loopback.add("tiny/model", FILES)
    loopback.add("tiny/set", {"data/train.parquet": BIG, "README.md": b"#"}, "datasets", "v1")
    return loopback


@pytest.fixture
def waits(monkeypatch):
    """The waits between attempts, which take no time."""
    asked = []
    monkeypatch.setattr(module, "sleep", asked.append)
    return asked


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetch(**options):
    return snapshot("tiny/model", **{"patience": QUICK, **options})


# --- as it should be --------------------------------------------------------------------------------------------------


def test_a_model_and_a_data_set_are_fetched_once(hub, tmp_path):
    folder = fetch()
    assert contents(folder) == FILES
    assert (
        folder
        == tmp_path / "cache" / "models--tiny--model" / "snapshots" / hub.repos["models", "tiny/model"]["main"][0]
    )
    rows = snapshot("tiny/set", "v1", "dataset", ["data/*"], patience=QUICK)
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


def test_other_programs_read_what_is_fetched(hub, monkeypatch):
    folder = fetch()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert huggingface_hub.snapshot_download("tiny/model", local_files_only=True) == str(folder)
    assert huggingface_hub.hf_hub_download("tiny/model", "config.json") == str(folder / "config.json")


def test_what_other_programs_fetched_is_read(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    folder = Path(huggingface_hub.snapshot_download("tiny/model", endpoint=hub.address))
    hub.requests.clear()
    assert fetch(revision=folder.name) == folder
    assert hub.asked("/resolve/") == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch() == folder


def test_a_branch_that_moved_is_seen_and_its_equal_files_are_not_fetched_again(hub):
    first = fetch()
    hub.add("tiny/model", FILES | {"config.json": b'{"new": 1}'})
    hub.requests.clear()
    second = fetch()
    assert (first.name, contents(first)) != (second.name, contents(second))
    assert [request.path.rsplit("/")[-1] for request in hub.asked("/resolve/")] == ["config.json"]
    assert contents(first) == FILES


def test_a_file_of_another_address_is_fetched_there_without_the_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as (storage, address):
        commit = storage.add("tiny/model", FILES)
        location = {"Location": f"{address}/tiny/model/resolve/{commit}/model.safetensors"}
        hub.faults = [Fault("safetensors", status=302, headers=location)]
        storage.faults = [Fault("safetensors", 1, after=2000)]
        assert contents(fetch()) == FILES
        assert [request.headers.get("range") for request in storage.requests] == [None, "bytes=2000-"]
        assert all("authorization" not in request.headers for request in storage.requests)
        assert all("authorization" in request.headers for request in hub.requests)


def test_two_at_once_fetch_once(hub):
    hub.faults = [Fault("safetensors", slow=0.01)]
    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(lambda _: fetch(), range(2))
    assert one == two
    assert contents(one) == FILES
    assert len(hub.asked("safetensors")) == 1


def test_revisions_with_slashes(hub):
    hub.add("tiny/model", {"a": b"1"}, revision="refs/pr/1")
    assert contents(fetch(revision="refs/pr/1")) == {"a": b"1"}


# --- faults that pass -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["/api/", "/resolve/"])
@pytest.mark.parametrize(
    ("status", "headers", "first"),
    [
        (503, {}, 0.01),
        (503, {"Retry-After": "30"}, 0.05),
        (429, {"Retry-After": "3600"}, 0.05),
        (429, {"RateLimit": '"api";r=0;t=55'}, 0.05),
        (500, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.01),
        (503, {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, 0.05),
        (503, {"Retry-After": "soon"}, 0.01),
    ],
)
def test_a_busy_hub_is_asked_again_after_a_bounded_wait(hub, waits, where, status, headers, first):
    hub.faults = [Fault(where, 2, status, headers)]
    assert contents(fetch(patterns=["*.safetensors"])) == {"model.safetensors": BIG}
    assert waits == [first, max(first, 0.02)]


def test_retry_after_is_honoured():
    patience = Patience(first=1, longest=60)
    assert [patience.wait(n) for n in (1, 2, 3, 10)] == [1, 2, 4, 60]
    assert [patience.wait(1, asked) for asked in (0.5, 7, 3600)] == [1, 7, 60]


@pytest.mark.parametrize("cut", [False, True], ids=["reset", "truncated"])
def test_a_file_that_broke_off_goes_on_where_it_stood(hub, waits, cut):
    hub.faults = [Fault("safetensors", 5, after=2000, cut=cut)]  # more breaks than tries, but each brings something
    assert contents(fetch())["model.safetensors"] == BIG
    ranges = [request.headers.get("range") for request in hub.asked("safetensors")]
    assert ranges == [None, *(f"bytes={2000 * n}-" for n in range(1, 6))]


def test_a_server_without_ranges_sends_all_of_it_again(hub, waits):
    hub.ranges = False
    hub.faults = [Fault("safetensors", 1, after=2000)]
    assert contents(fetch())["model.safetensors"] == BIG
    assert len(hub.asked("safetensors")) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])  # sha256, and git's hash
def test_content_of_another_hash_is_thrown_away_and_fetched_again(hub, waits, name):
    hub.faults = [Fault(name, 1, corrupt=True)]
    assert contents(fetch()) == FILES
    assert [request.headers.get("range") for request in hub.asked(name)] == [None, None]


def test_a_slow_answer_is_not_waited_for(hub):
    hub.faults = [Fault("/api/", 1, delay=0.5), Fault("safetensors", 1, delay=0.5)]
    assert contents(fetch(patience=Patience(3, 0.01, 0.05, timeout=0.1))) == FILES


def test_slow_content_is_no_fault(hub):
    hub.faults = [Fault("safetensors", 1, slow=0.01)]
    assert contents(fetch(patience=Patience(1, 0.01, 0.05, timeout=0.1))) == FILES


def test_killed_in_a_file_it_goes_on_at_its_last_byte(hub, tmp_path):
    hub.faults = [Fault("safetensors", 1, slow=0.1)]
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "from jam.hub import snapshot; snapshot('tiny/model')"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], env=environment)
    deadline = time.monotonic() + 60
    blobs = tmp_path / "cache" / "models--tiny--model" / "blobs"
    while time.monotonic() < deadline and process.poll() is None:
        if any(path.stat().st_size > 2000 for path in blobs.glob("*.part")):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (part,) = blobs.glob("*.part")
    stood = part.stat().st_size
    assert 0 < stood < len(BIG)
    assert not list((tmp_path / "cache" / "models--tiny--model").glob("snapshots/*"))
    assert contents(fetch()) == FILES
    assert hub.asked("safetensors")[-1].headers["range"] == f"bytes={stood}-"
    assert not list(blobs.glob("*.part"))


# --- faults that stay -------------------------------------------------------------------------------------------------


def fails(match, **options):
    with pytest.raises(InputError, match=match) as caught:
        fetch(**options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("/api/", status=503), "status 503"),
        (Fault("/api/", status=429, headers={"Retry-After": "9"}), "status 429"),
        (Fault("/api/", status=403), "gated: accept its terms on its page, then hf auth login or set HF_TOKEN"),
        (Fault("/api/", status=401, headers={"X-Error-Code": "GatedRepo"}), "gated: accept its terms"),
        (Fault("/api/", status=401), "no such repository, or a private one: check the name, or hf auth login"),
        (Fault("/api/", status=404), "no such repository, or a private one"),
        (Fault("/api/", status=400), "status 400"),
        (Fault("/resolve/", status=403), "gated"),  # the list is public, the files are not
        (Fault("safetensors", status=503), "status 503"),
        (Fault("safetensors", corrupt=True), r"model\.safetensors: got content of another hash, expected [0-9a-f]{64}"),
        (Fault("safetensors", after=0), "RemoteProtocolError|ReadError"),
        (Fault("safetensors", after=0, cut=True), r"model\.safetensors: got 0 bytes, expected 10240"),
        (Fault("safetensors", delay=0.4), "ReadTimeout"),
    ],
)
def test_what_does_not_pass_is_one_line_and_leaves_no_output(hub, tmp_path, monkeypatch, fault, reason):
    hub.faults = [fault]
    message = fails(reason, patience=Patience(2, 0.01, 0.02, timeout=0.2))
    assert message.startswith("hub model tiny/model@main: not in the local cache (")
    assert MIRROR in message
    assert not list(tmp_path.glob("cache/*/snapshots/*"))
    assert not list(tmp_path.glob("cache/*/refs/*"))
    hub.faults = []
    assert contents(fetch()) == FILES  # the next run finds nothing spoilt


def test_a_refusal_is_not_repeated(hub):
    hub.faults = [Fault("/api/", status=404)]
    fails("no such repository")
    assert len(hub.requests) == 1


def test_unknown_repositories_and_revisions_are_told_apart(hub):
    fails("no such revision, expected a branch, a tag or a commit", revision="nosuch")
    with pytest.raises(InputError, match=r"hub dataset tiny/model@main: .*no such repository"):
        snapshot("tiny/model", repo_type="dataset", patience=QUICK)
    with pytest.raises(InputError, match="hub model: got 'a/b/c', expected owner/name"):
        snapshot("a/b/c", patience=QUICK)


def test_without_a_network_it_is_one_line(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    fails("ConnectError")


@pytest.mark.parametrize("answer", [b"<html>log in to the hotel's network</html>", b'{"sha": "0"}', b"[]"])
def test_an_answer_of_no_hub_is_one_line(hub, monkeypatch, answer):
    from hub_server import _Handler

    monkeypatch.setattr(_Handler, "_api", lambda self, *_, **__: self._answer(200, answer, {}))
    fails("not the answer of a hub")


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil"])
def test_names_that_lead_out_of_the_cache_are_refused(hub, tmp_path, name):
    hub.add("tiny/model", {name: b"1"})
    fails("not the answer of a hub")
    assert not list(tmp_path.rglob("evil"))


def test_a_full_disk_keeps_what_came(hub, tmp_path, monkeypatch):
    opened = Path.open

    class Full:
        def __init__(self, handle):
            self.handle = handle

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.handle.close()

        def write(self, chunk):
            self.handle.write(chunk[:500])
            raise OSError(errno.ENOSPC, "No space left on device")

    def open_full(self, mode="r", *rest, **options):
        handle = opened(self, mode, *rest, **options)
        return Full(handle) if self.suffix == ".part" and mode in ("ab", "wb") else handle

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        fails(r"hub model tiny/model@main: the disk is full; expected room in .*cache", patterns=["*.safetensors"])
    assert not list(tmp_path.glob("cache/*/snapshots/*"))
    hub.requests.clear()
    assert contents(fetch()) == FILES
    assert hub.asked("safetensors")[0].headers["range"] == "bytes=500-"


# --- mirror, cache, token ---------------------------------------------------------------------------------------------


def test_a_mirror_stands_in_and_never_sees_the_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as (mirror, address):
        mirror.add("tiny/model", FILES)
        monkeypatch.setenv(MIRROR, address + "/")
        hub.faults = [Fault("/resolve/", status=503)]
        assert contents(fetch()) == FILES
        assert {request.headers.get("authorization") for request in hub.requests} == {"Bearer hf_secret"}
        assert mirror.requests
        assert all("authorization" not in request.headers for request in mirror.requests)
        message = fails(f"{hub.address}: no such revision", revision="nosuch")
        assert f"{address}: no such revision" in message  # what each of them said


def test_the_cache_stands_in_and_says_so(hub, monkeypatch, caplog):
    folder = fetch()
    hub.faults = [Fault("/api/", status=503)]
    assert fetch() == folder
    assert caplog.messages == [
        f"hub model tiny/model@main: {hub.address}: status 503; taken from the local cache, commit {folder.name}"
    ]


def test_a_shared_cache_that_is_not_to_be_written_is_read(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    folder = Path(huggingface_hub.snapshot_download("tiny/model", endpoint=hub.address))

    def refuse(path, content):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(module, "write_json", refuse)
    assert fetch(revision=folder.name) == folder
    fails("no right to write to", revision=hub.add("tiny/model", {"a": b"1"}))


def test_another_commit_than_the_pinned_one_is_refused(hub):
    pinned = fetch().name
    other = hub.add("tiny/model", {"a": b"1"})
    hub.repos["models", "tiny/model"]["f" * 40] = hub.repos["models", "tiny/model"][other]
    fails(f"got commit '{other}' for {'f' * 40}", revision="f" * 40)
    assert pinned != other


def test_offline_only_the_cache_is_asked(hub, monkeypatch, caplog):
    folder = fetch(patterns=["*.json"])
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(patterns=["*.json"]) == folder
    assert caplog.messages == []
    fails("HF_HUB_OFFLINE is set")  # all of it is not there
    fails("HF_HUB_OFFLINE is set", revision="0" * 40)
    assert hub.requests == []


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
    spec = {"modality": "text", "source": "hub", "model": "tiny/bert", "revision": "v2", "max_tokens": 9}
    params["encoders"]["tiny"] = spec
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    commit = hub.repos["models", "tiny/bert"]["v2"][0]
    assert stage.main(["tiny"]) == f"found tiny/bert, {commit}; encoder in data/encoders/tiny"
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
