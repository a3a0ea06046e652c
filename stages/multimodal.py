"""Make one multimodal model, two towers with one space: pretrain it here on pairs, or find it and pin its weights.

Reads   data/multimodal_pairs/pairs.parquet (source cave); a hub model; a folder of the user's
Writes  data/multimodal/NAME/{image,text}/: Hugging Face layout, projection and encoder.json, also of checkpoints
        and further seeds (cave), encoder.json alone (others)

By hand:  python -m stages.multimodal clip_a
"""

from pathlib import Path
from typing import Any

from jam.encoders.folder import folder_manifest
from jam.encoders.hub import hub_manifest
from jam.encoders.manifest import SEEDS
from jam.io import atomic_folder
from jam.parallel import in_processes, processes
from jam.params import MultimodalSpec, load_params
from jam.params.multimodal import TOWERS
from jam.progress import track
from stages.common import MULTIMODAL, MULTIMODAL_PAIRS, require_listed, run


def pretrain(name: str, spec: MultimodalSpec, seed: int, folder: Path) -> str:
    """Train from scratch on pairs, write both towers; say how it went."""
    from jam.device import pick_device
    from jam.multimodal.training import pretrain_pairs, write_towers

    assert spec.pretraining is not None
    recipe = spec.pretraining.model_dump(mode="json", exclude_none=True)
    checkpoints, place = (spec.checkpoints, "") if seed == spec.seed else ((), f"{SEEDS}/{seed}")
    told: dict[str, Any] = {"seed": seed, "checkpoints": checkpoints, "device": pick_device(), "progress": track}
    made = pretrain_pairs(MULTIMODAL_PAIRS, **recipe, **told)
    write_towers(folder, made, name=name, recipe={**recipe, "seed": seed}, place=place)
    return f"pretrained, mean loss of the last epoch {made.loss:.3f}"


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    models = load_params().multimodal
    require_listed("model", name, models)
    spec = models[name]
    with atomic_folder(MULTIMODAL / name) as folder:
        if spec.source == "cave":
            calls = [(name, spec, seed, folder) for seed in (spec.seed, *spec.more_seeds)]
            how = "; ".join(sorted(in_processes(pretrain, calls, min(len(calls), processes()))))
        else:
            for modality in TOWERS:
                if spec.source == "hub":
                    revision = spec.revision or "main"
                    manifest = hub_manifest(str(spec.model), revision, modality, projected=True)
                else:
                    manifest = folder_manifest(spec.reads, modality, projected=True)
                (folder / modality).mkdir()
                manifest.write(folder / modality)
            how = f"found {manifest.id}, {manifest.revision or manifest.sha256[:12]}"
    return f"{how}; towers in {MULTIMODAL / name}"


if __name__ == "__main__":
    run(main, name="a name among multimodal in params.yaml")
