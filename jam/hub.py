"""Files of the Hugging Face hub, of models and data sets alike: fetched once by huggingface_hub, then verified.

The cache, token, retries and settings are those of huggingface_hub (``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT`` for a
mirror, ``HF_HUB_OFFLINE``), so that its other users share what is here.
"""

import errno
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from jam.errors import InputError
from jam.io import read_json, write_json

RepoType = Literal["model", "dataset"]


def snapshot(
    repo_id: str,
    revision: str = "main",
    repo_type: RepoType = "model",
    patterns: Sequence[str] = ("*",),
    ignore: Sequence[str] = (),
) -> Path:
    """The files of one revision, in the folder ``…/snapshots/COMMIT`` of the local cache.

    A commit that is in the cache needs no network. A branch or tag is looked up each time, and where the hub does not
    answer, taken from the cache; with ``HF_HUB_OFFLINE=1`` from the cache alone. Killed at any moment, a second call
    keeps the files that were whole.

    Args:
        repo_id: ``owner/name``.
        revision: branch, tag or commit.
        repo_type: ``model`` or ``dataset``.
        patterns: files to fetch, as huggingface_hub's ``allow_patterns``: ``*`` stands for slashes, too.
        ignore: files to leave out of these.

    Raises:
        InputError: a bad name, no such repository or revision, no right to it, no connection, content of another hash
            than the hub lists, or a full disk.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError

    where = f"hub {repo_type} {repo_id}@{revision}"
    try:
        folder = Path(
            snapshot_download(
                repo_id,
                repo_type=repo_type,
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(ignore),
            )
        )
        wrong = _verify(folder, repo_id, repo_type)
    except HFValidationError as error:
        raise InputError(f"hub {repo_type}: got {repo_id!r}, expected owner/name") from error
    except (OSError, HTTPError, ValueError, KeyError, TypeError) as error:  # the last three: an answer of no hub
        raise InputError(f"{where}: {_reason(error)} (cache: {constants.HF_HUB_CACHE})") from error
    if wrong:
        raise InputError(
            f"{where}: got content of another hash than the hub lists in {', '.join(wrong)}; it is thrown away: "
            "expected the listed one, run again or set HF_ENDPOINT to another hub"
        )
    return folder


def _verify(folder: Path, repo_id: str, repo_type: RepoType) -> list[str]:
    """Hash the files that are new since the last call, and throw away those that are not what the hub lists."""
    from huggingface_hub import HfApi, constants

    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    verified = folder.parents[1] / "verified" / f"{folder.name}.json"
    if constants.HF_HUB_OFFLINE or (verified.is_file() and files.keys() <= set(read_json(verified)["files"])):
        return []
    found = HfApi().verify_repo_checksums(repo_id, repo_type=repo_type, revision=folder.name)
    wrong = [mismatch["path"] for mismatch in found.mismatches]
    for name in wrong:
        files[name].resolve().unlink()
        files[name].unlink(missing_ok=True)
    if not wrong:
        with suppress(OSError):  # a shared cache that is not to be written
            write_json(verified, {"files": sorted(files)})
    return wrong


def _reason(error: Exception) -> str:
    """One line on why nothing came, and what to do about it."""
    from huggingface_hub import errors

    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ else error
    status = cause.response.status_code if isinstance(cause, errors.HfHubHTTPError) else None
    if isinstance(cause, errors.GatedRepoError) or status == 403:
        return "gated; accept its terms on its page, then hf auth login or set HF_TOKEN"
    if isinstance(cause, errors.RevisionNotFoundError):
        return "no such revision; expected a branch, a tag or a commit"
    if isinstance(cause, errors.RepositoryNotFoundError) or status == 401:
        return "no such repository, or a private one; check the name, or hf auth login or set HF_TOKEN"
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space, or set HF_HOME to another disk, and run again: whole files are kept"
    if isinstance(cause, errors.OfflineModeIsEnabled):
        return "not in the local cache, and HF_HUB_OFFLINE is set; expected a connection once, or a filled HF_HOME"
    said = (str(cause).strip() or "no answer").splitlines()[0]
    return f"{type(cause).__name__}: {said}; expected a hub in HF_ENDPOINT, or HF_HUB_OFFLINE=1 and a filled cache"
