"""Encode all views of one encoder's modality, and keep all tokens of one layer.

Reads   data/encoders/NAME/, data/world/ (the views of its modality)
Writes  data/tokens/NAME/ (tokens.npy, spans.npy, index.parquet, manifest.json)

The same views as the stage `features`, without the fine gallery, of which no adapter of tokens is asked; killed, it
takes up its work where it stood (scratch/tokens/), and ends with the same bytes, on any number of cores.

By hand:  python -m stages.tokens minilm
          torchrun --nproc_per_node 2 -m stages.tokens minilm    the batches shared by two processes, the same bytes
"""

from typing import Any

from jam.data.schema import FINE, VIEWS
from jam.distributed import World, launched
from jam.encoders.manifest import Manifest
from jam.errors import InputError
from jam.params import load_params
from jam.progress import track
from stages.common import ENCODERS, SCRATCH, TOKENS, WORLD, require_listed, run
from stages.shared import limits, share_out


def fill(name: str, world: World) -> str:
    """One process' batches of an encoder; what is there at the end."""
    from jam.encoders import Encoder  # torch, for the processes that encode
    from jam.features import extract_tokens

    params = load_params()
    how: dict[str, Any] = {"batch_size": params.features.batch_size, "progress": track, "world": world}
    how |= {"limits": limits() | {FINE: (0, 0)}, "scratch": SCRATCH / "tokens", **params.tokens[name].model_dump()}
    views = WORLD / VIEWS / f"{params.encoders[name].modality}.parquet"
    store = extract_tokens(Encoder.load(ENCODERS / name), views, TOKENS / name, **how)
    return f"{len(store.tokens):,} tokens of {len(store.index):,} rows in {TOKENS / name}"


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    require_listed("tokens", name, params.tokens)
    manifest = Manifest.read(ENCODERS / name)
    if manifest.source in ("arrays", "control"):
        raise InputError(f"tokens.{name}: got an encoder of source {manifest.source}, expected one that makes tokens")
    told = share_out(fill, name, manifest)
    return told if launched().first else "tokens filled; the first process tells of them"


if __name__ == "__main__":
    run(main, every_process=True, name="a name among tokens in params.yaml")
