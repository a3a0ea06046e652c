"""The hub's file protocol on 127.0.0.1, for models and data sets, with faults on demand.

Files of more than `LFS` bytes are listed as LFS files (ETag: sha256), smaller ones as git's (ETag: git's hash).
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

LFS = 64

_API = re.compile(r"/api/(models|datasets)/(.+?)/(revision|tree)/([^/?]+)")
_FILE = re.compile(r"/(datasets/)?(.+?)/resolve/([^/]+)/(.+)")


@dataclass
class Fault:
    """What goes wrong with the next ``times`` GET requests whose path contains ``where``.

    Attributes:
        status: answered instead, with ``headers``; None to answer as usual but for what follows.
        after: bytes of the body after which the connection is closed.
        corrupt: the body has another content of the same length.
        hold: waited for before the last byte of the body.
    """

    where: str
    times: int = 10**9
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    after: int | None = None
    corrupt: bool = False
    hold: threading.Event | None = None


_NO_FAULT = Fault("", 0)


@dataclass
class Request:
    """A request that came: method, path, and headers by their lower-case names."""

    method: str
    path: str
    headers: dict[str, str]


class HubServer:
    """Repositories, and what is to go wrong; `requests` says what was asked.

    Attributes:
        repos: (``models`` or ``datasets``, id) → revision → commit and files.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], dict[str, tuple[str, dict[str, bytes]]]] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []

    def add(self, repo_id: str, files: dict[str, bytes], kind: str = "models", revision: str = "main") -> str:
        """Put a commit at a revision, and give the commit."""
        commit = hashlib.sha1(json.dumps({name: git_sha1(files[name]) for name in sorted(files)}).encode()).hexdigest()
        revisions = self.repos.setdefault((kind, repo_id), {})
        revisions[revision] = revisions[commit] = (commit, dict(files))
        return commit

    def fault_of(self, path: str) -> Fault:
        for fault in self.faults:
            if fault.where in path and fault.times > 0:
                fault.times -= 1
                return fault
        return _NO_FAULT

    def asked(self, part: str) -> list[Request]:
        """The GET requests whose path contains ``part``."""
        return [request for request in self.requests if request.method == "GET" and part in request.path]


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entry(name: str, content: bytes) -> dict[str, Any]:
    """A file as the API lists it in a tree."""
    listed: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": git_sha1(content)}
    if len(content) > LFS:
        listed["oid"] = git_sha1(b"pointer to " + content)
        listed["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return listed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: HubServer

    def do_GET(self) -> None:
        self.hub.requests.append(Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        fault = self.hub.fault_of(self.path) if self.command == "GET" else _NO_FAULT
        if fault.status is not None:
            self._answer(fault.status, b'{"error": "injected"}', fault.headers)
        elif match := _API.match(self.path):
            self._api(*match.groups(), fault=fault)
        elif match := _FILE.match(self.path):
            kind = "datasets" if match[1] else "models"
            self._file(kind, match[2], unquote(match[3]), unquote(match[4]), fault)
        else:
            self._answer(404, b"{}", {})

    do_HEAD = do_GET

    def _find(self, kind: str, repo_id: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        revisions = self.hub.repos.get((kind, repo_id))
        if revisions is None:
            self._answer(401, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        elif revision not in revisions:
            self._answer(404, b'{"error": "Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"})
        else:
            return revisions[revision]
        return None

    def _api(self, kind: str, repo_id: str, what: str, revision: str, fault: Fault) -> None:
        if (found := self._find(kind, repo_id, unquote(revision))) is None:
            return
        commit, files = found
        content: Any = [entry(name, files[name]) for name in sorted(files)]
        if what == "revision":
            siblings = [{"rfilename": file["path"]} for file in content]
            content = {"_id": "0", "id": repo_id, "sha": commit, "siblings": siblings, "private": False}
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"}, fault)

    def _file(self, kind: str, repo_id: str, revision: str, name: str, fault: Fault) -> None:
        if (found := self._find(kind, repo_id, revision)) is None:
            return
        commit, files = found
        if name not in files:
            self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        content, listed = files[name], entry(name, files[name])
        etag = listed.get("lfs", listed)["oid"]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if fault.corrupt:
            content = bytes(byte ^ 1 for byte in content)
        status, start = 200, 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            status, start = 206, int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._answer(status, content[start:], headers, fault)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], fault: Fault = _NO_FAULT) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with suppress(OSError):  # the client has had enough
            if fault.hold is not None:
                self.wfile.write(body[:-1])
                fault.hold.wait(60)
                body = body[-1:]
            self.wfile.write(body[: fault.after])
        if fault.after is not None:
            self.close_connection = True  # before all was sent

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[tuple[HubServer, str]]:
    """A hub and its address."""
    hub = HubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
