"""Files of the Hugging Face hub, of models and data sets alike: fetched once, verified, kept in the hub's own cache.

huggingface_hub gives the session, the token and the layout of the cache, so that its other users share what is here.
Its own downloads begin again at nothing after a kill, wait for as long as a server says, and do not look at what they
got. These go on where they stood, wait for so long and no longer, and keep no byte whose hash is not the listed one.
"""

import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path, PurePosixPath
from time import sleep, time
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from jam.errors import InputError
from jam.io import atomic_folder, atomic_path, read_json, write_json
from jam.progress import Progress, silent

RepoType = Literal["model", "dataset"]
MIRROR = "JAM_HUB_MIRROR"  # environment variable: the address of a hub to turn to when the first one fails

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RESET = re.compile(r";\s*t\s*=\s*(\d+)")
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Patience:
    """How long to try.

    Attributes:
        tries: attempts in a row that bring nothing new; a part of a file is something new.
        first: seconds before the second attempt; doubled before each one after it.
        longest: seconds that are never exceeded, even where the server asks for more.
        timeout: seconds without a byte after which an attempt has failed.
    """

    tries: int = 5
    first: float = 1.0
    longest: float = 90.0
    timeout: float = 20.0

    def wait(self, failures: int, asked: float = 0.0) -> float:
        """Seconds to wait after so many failures, when the server asked for ``asked``."""
        return min(self.longest, max(asked, self.first * 2 ** (failures - 1)))


def snapshot(
    repo_id: str,
    revision: str = "main",
    repo_type: RepoType = "model",
    patterns: Sequence[str] = ("*",),
    ignore: Sequence[str] = (),
    *,
    patience: Patience | None = None,
    progress: Progress = silent,
) -> Path:
    """The files of one revision, in the folder ``…/snapshots/COMMIT`` of the local cache.

    A commit that is in the cache needs no network. A branch or tag is looked up each time: at the hub
    (``HF_ENDPOINT``), then at the mirror (``JAM_HUB_MIRROR``), and where neither answers, in the cache; with
    ``HF_HUB_OFFLINE=1`` in the cache alone. Killed at any moment, a second call goes on where the first one stood.

    Args:
        repo_id: ``owner/name``.
        revision: branch, tag or commit.
        repo_type: ``model`` or ``dataset``.
        patterns: files to fetch, as in huggingface_hub's ``allow_patterns``: ``*`` stands for slashes, too.
        ignore: files to leave out of these.
        patience: None for the usual one.
        progress: wraps the files that are not in the cache, see `jam.progress`.

    Raises:
        InputError: a bad name, no such repository or revision, no right to it, no connection, or a full disk.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import filter_repo_objects, validate_repo_id

    where = f"hub {repo_type} {repo_id}@{revision}"
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"hub {repo_type}: got {repo_id!r}, expected owner/name") from error
    cache = Path(constants.HF_HUB_CACHE).expanduser()
    repo = _Repo(
        repo_id,
        revision,
        repo_type,
        cache / repo_folder_name(repo_id=repo_id, repo_type=repo_type),
        lambda names: list(filter_repo_objects(names, allow_patterns=list(patterns), ignore_patterns=list(ignore))),
    )
    if _COMMIT.fullmatch(revision) and (folder := repo.listed()):
        return folder
    reasons = []
    try:
        for endpoint, headers in _remotes():
            try:
                return _download(repo, endpoint, headers, patience or Patience(), progress)
            except _Unavailable as error:
                reasons.append(f"{endpoint}: {error}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{where}: the disk is full; expected room in {cache} "
                "(what has come is kept: free some space, or set HF_HOME to another disk, and run again)"
            ) from error
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        reasons.append(f"no right to write to {error.filename}")  # a cache that is shared may still have it
    if folder := repo.listed() or repo.left_by_others(list(patterns), list(ignore)):
        if reasons:
            _log.warning("%s: %s; taken from the local cache, commit %s", where, "; ".join(reasons), folder.name)
        return folder
    why = "; ".join(reasons) or "HF_HUB_OFFLINE is set"
    raise InputError(
        f"{where}: not in the local cache ({cache}) and not to be downloaded ({why}); expected a right name and a "
        f"connection once, a mirror in {MIRROR}, or a filled cache in HF_HOME"
    )


class _Unavailable(Exception):
    """A hub does not have it, does not give it, or is not to be reached: no use in trying it again."""


class _Transient(Exception):
    """A failure that may be over the next time; ``after``: seconds that the server asks to wait."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True)
class _Repo:
    """What is wanted of one repository, and the folder of the cache that holds it."""

    id: str
    revision: str
    type: RepoType
    store: Path
    wanted: Callable[[list[str]], list[str]]

    def known_commit(self) -> str | None:
        """The commit of the revision, as far as the cache knows."""
        if _COMMIT.fullmatch(self.revision):
            return self.revision
        ref = self.store / "refs" / self.revision
        return ref.read_text().strip() if ref.is_file() else None

    def folder(self, commit: str) -> Path:
        return self.store / "snapshots" / commit

    def listing(self, commit: str) -> Path:
        """All names of the repository; in the cache, so that a folder with half of them is not taken for all."""
        return self.store / "listings" / f"{commit}.json"

    def listed(self) -> Path | None:
        """The folder of the cache, if all that is wanted is there."""
        commit = self.known_commit()
        if commit is None or not self.listing(commit).is_file():
            return None
        names = self.wanted(read_json(self.listing(commit))["files"])
        folder = self.folder(commit)
        return folder if folder.is_dir() and all((folder / name).is_file() for name in names) else None

    def left_by_others(self, patterns: list[str], ignore: list[str]) -> Path | None:
        """The folder of the cache that another program has filled."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        commit = self.known_commit()
        if commit is None or self.listing(commit).is_file():
            return None  # with a listing it is ours, and `listed` found it incomplete
        try:
            return Path(
                snapshot_download(
                    self.id,
                    repo_type=self.type,
                    revision=self.revision,
                    cache_dir=self.store.parent,
                    allow_patterns=patterns,
                    ignore_patterns=ignore,
                    local_files_only=True,
                )
            )
        except LocalEntryNotFoundError:
            return None


@dataclass(frozen=True)
class _File:
    """A file as the hub lists it; ``digest``: sha256 of the content, or of small files git's hash of it."""

    name: str
    size: int
    digest: str

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "_File":
        lfs = entry.get("lfs") or {}
        file = cls(entry["rfilename"], lfs.get("size", entry["size"]), lfs.get("sha256", entry["blobId"]))
        path = PurePosixPath(file.name)
        if path.is_absolute() or ".." in path.parts or not _DIGEST.fullmatch(file.digest):
            raise ValueError(f"{file.name!r}, {file.digest!r}")  # it would lead out of the cache
        return file

    def matches(self, path: Path) -> bool:
        """Whether a file has the listed content."""
        if len(self.digest) == 64:
            digest = hashlib.sha256()
        else:
            digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest() == self.digest


def _remotes() -> Iterator[tuple[str, dict[str, str]]]:
    """Address and headers of each hub to ask; the user's token is for the first alone."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        return
    headers = {"User-Agent": "jam-align"}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    yield constants.ENDPOINT.rstrip("/"), headers | ({"Authorization": f"Bearer {token}"} if token else {})
    if mirror := os.environ.get(MIRROR):
        yield mirror.rstrip("/"), headers


def _download(repo: _Repo, endpoint: str, headers: dict[str, str], patience: Patience, progress: Progress) -> Path:
    from huggingface_hub.utils import WeakFileLock

    commit, files = _patiently(partial(_list, repo, endpoint, headers, patience), patience)
    names = set(repo.wanted([file.name for file in files]))
    wanted = [file for file in files if file.name in names]
    address = f"{endpoint}/{'datasets/' if repo.type == 'dataset' else ''}{repo.id}/resolve/{commit}"
    folder, blobs = repo.folder(commit), repo.store / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    lock = repo.store.parent / ".locks" / repo.store.name / f"{commit}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):  # two stages may want the same model
        missing = {file.digest: file for file in wanted if not (blobs / file.digest).is_file()}
        label = f"{repo.id}: files, {sum(file.size for file in missing.values()) / 1e6:.1f} MB in all"
        for file in progress(missing.values(), len(missing), label):
            _fetch(f"{address}/{quote(file.name)}", headers, file, blobs / file.digest, patience)
        write_json(repo.listing(commit), {"files": [file.name for file in files]})
        if not all((folder / file.name).is_file() for file in wanted):
            with atomic_folder(folder) as part:
                if folder.is_dir():
                    shutil.copytree(folder, part, symlinks=True, dirs_exist_ok=True)
                for file in wanted:
                    link = part / file.name
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.unlink(missing_ok=True)
                    link.symlink_to(os.path.relpath(blobs / file.digest, link.parent))
        if commit != repo.revision:
            with atomic_path(repo.store / "refs" / repo.revision) as part:
                part.write_text(commit)
    return folder


def _list(repo: _Repo, endpoint: str, headers: dict[str, str], patience: Patience) -> tuple[str, list[_File]]:
    """The commit of a revision, and its files."""
    url = f"{endpoint}/api/{repo.type}s/{repo.id}/revision/{quote(repo.revision, safe='')}?blobs=true"
    with _opened(url, headers, patience.timeout) as response:
        response.read()
        try:
            info = response.json()
            commit, files = info["sha"], [_File.of(entry) for entry in info["siblings"]]
        except (ValueError, KeyError, TypeError) as error:
            raise _Unavailable(f"not the answer of a hub to {url} ({error})") from error
    if not _COMMIT.fullmatch(commit) or (_COMMIT.fullmatch(repo.revision) and commit != repo.revision):
        raise _Unavailable(f"got commit {commit!r} for {repo.revision}")
    return commit, files


def _fetch(url: str, headers: dict[str, str], file: _File, blob: Path, patience: Patience) -> None:
    """Bring one file into the cache: whole and with the listed hash, or not at all."""
    part = blob.with_name(f"{blob.name}.part")

    def reached() -> int:
        return part.stat().st_size if part.is_file() else 0

    def attempt() -> None:
        if reached() < file.size:
            asked = {**headers, "Accept-Encoding": "identity"}
            if reached():
                asked["Range"] = f"bytes={reached()}-"
            with (
                _opened(url, asked, patience.timeout) as response,
                # A server that does not know ranges sends all of it again.
                part.open("ab" if response.status_code == 206 else "wb") as handle,
            ):
                for chunk in response.iter_bytes():
                    handle.write(chunk)
        else:
            part.touch()  # an empty file
        if reached() < file.size:
            raise _Transient(f"{file.name}: got {reached()} bytes, expected {file.size}")
        if not file.matches(part):
            part.unlink()
            raise _Transient(f"{file.name}: got content of another hash, expected {file.digest}")

    _patiently(attempt, patience, reached)
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(blob)


@contextmanager
def _opened(url: str, headers: dict[str, str], timeout: float) -> Iterator[Any]:
    """A streamed answer to GET; a refusal or a broken connection is told as what it is."""
    from huggingface_hub.errors import HTTPError  # that of its httpx, whichever it is
    from huggingface_hub.utils import get_session

    try:
        with get_session().stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            if response.status_code >= 400:
                raise _refusal(response)
            yield response
    except HTTPError as error:
        raise _Transient(f"{type(error).__name__} {error}".strip().splitlines()[0]) from error


def _refusal(response: Any) -> Exception:
    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    if status in (408, 425, 429) or status >= 500:
        # The hub tells when its rate limit is over by a header of its own: RateLimit: "api";r=0;t=55
        limit = _RESET.search(response.headers.get("RateLimit", ""))
        after = response.headers.get("Retry-After") or (limit[1] if limit else "")
        return _Transient(f"status {status}", _seconds(after))
    if code == "RevisionNotFound":
        return _Unavailable("no such revision, expected a branch, a tag or a commit")
    if code == "GatedRepo" or status == 403:
        return _Unavailable("gated: accept its terms on its page, then hf auth login or set HF_TOKEN")
    if status in (401, 404):
        return _Unavailable("no such repository, or a private one: check the name, or hf auth login or set HF_TOKEN")
    return _Unavailable(f"status {status}")


def _seconds(after: str) -> float:
    """What Retry-After asks for: a number of seconds, or the date when they are over; 0 where it is neither."""
    if after.isdigit():
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time())
    except ValueError:
        return 0.0


def _patiently(attempt: Callable[[], _T], patience: Patience, reached: Callable[[], int] = lambda: 0) -> _T:
    """Repeat an attempt while it fails for a reason that may pass, and is not stuck."""
    failures, best = 0, reached()
    while True:
        try:
            return attempt()
        except _Transient as error:
            if reached() > best:
                failures, best = 0, reached()
            failures += 1
            if failures >= patience.tries:
                raise _Unavailable(str(error)) from error
            sleep(patience.wait(failures, error.after))
