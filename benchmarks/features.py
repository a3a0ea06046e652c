"""Does extraction keep up with the bare forward pass, and do features larger than memory work?

    python -m benchmarks.features [--quick]

An untrained DINOv2 S on 200 photos, a RegNet as large as the cave's `vision_l` on 2,000 images, and MiniLM on 2,000
captions; then 1,000,000 rows × 768 × 4
layers of half precision, 6.1 GB on disk, written by a synthetic encoder and read back in a training epoch: six minutes
on two cores. With --quick 300 items, and 20,000 rows.
"""

import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.harness import Options, Row, alone, best, chosen, parser, peak_mib, seconds, table
from jam.align.items import Items, SideRows
from jam.align.train import train
from jam.data.schema import write_world
from jam.encoders import Encoder
from jam.encoders.manifest import Manifest
from jam.features import FeatureStore, extract_features
from jam.params import Objective, Training
from jam.pretrain.training import save_cave

BATCH = 64
CAPTIONS = 4
SPEED = ("device", "encoder", "items", "bare forward, s", "extraction, s", "bare / extraction")
SIZE = ("rows × width × layers", "on disk, GB", "written, s", "one training epoch, s", "peak, MiB")
TEXT = """## Features

Extraction from a pairs table, with decoding, preprocessing, pooling of all layers, checks, journal and files, against
the model's bare forward pass on the same batches prepared beforehand. DINOv2 S sees photos of 480 × 360 pixels at
224 × 224, RegNet L the cave's images of 32 × 48: those take it under a millisecond each, and the image processor of
transformers another tenth to fifth of one, on the same cores. On a GPU several threads prepare batches."""
LARGE = """Features larger than memory: rows written by a synthetic encoder (random states, no model), then one epoch of
a linear adapter on one of the layers in batches of 1,024. Peak: resident memory of the process over both, Python, torch
and the table of rows included."""


def section(options: Options) -> str:
    """This benchmark's part of the table file."""
    large = [alone(larger_than_memory, 20_000 if options.quick else 1_000_000)]
    return f"{TEXT}\n\n{table(SPEED, speeds(options))}\n\n{LARGE}\n\n{table(SIZE, large)}"


def speeds(options: Options) -> Iterator[Row]:
    """Extraction against the bare forward pass."""
    for device in options.devices:
        for name, items in (("DINOv2 S", 200), ("RegNet L", 2000), ("MiniLM", 2000)):
            yield alone(against_forward, name, items // 8 if options.quick else items, device)


def against_forward(name: str, items: int, device: str) -> Row:
    """A row of the first table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rng = np.random.default_rng(0)
        pairs = [pair(i, rng, photo=name == "DINOv2 S") for i in range(items)]
        write_world(folder, {"test": pairs})
        made = {"DINOv2 S": random_dinov2, "RegNet L": random_regnet}
        encoder = Encoder.load(made[name](folder / "model") if name in made else "minilm", device)
        listed: Sequence[Any]
        if encoder.modality == "image":
            listed = [Image.open(io.BytesIO(each["image"]["bytes"])) for each in pairs]
        else:
            listed = [each["captions"][0] for each in pairs]
        prepared = [encoder.prepare([listed[i] for i in rows]) for rows in encoder.batches(listed, BATCH)]

        @torch.inference_mode()
        def bare() -> None:
            for inputs in prepared:
                moved = {key: value.to(device) for key, value in inputs.items()}
                with torch.autocast(device, dtype=torch.bfloat16, enabled=encoder.autocast):
                    encoder.model(**moved, output_hidden_states=True)

        def extraction() -> None:
            views = folder / "views" / f"{encoder.modality}.parquet"
            extract_features(encoder, views, folder / "out", scratch=folder / "scratch", batch_size=BATCH)

        floor, whole = best(2, bare, extraction, device=device)
    return [device, name, f"{items:,}", f"{floor:.2f}", f"{whole:.2f}", f"{floor / whole:.0%}"]


def larger_than_memory(rows: int, width: int = 768, layers: int = 4) -> Row:
    """The second table."""
    with tempfile.TemporaryDirectory(dir=".") as temporary:  # on the disk; /tmp may be memory
        folder = Path(temporary)
        pairs = rows // CAPTIONS
        write_world(folder, {"train": (sentences(i) for i in range(pairs))})
        encoder = RandomStates(width, layers)

        def write() -> None:
            extract_features(
                encoder, folder / "views" / "text.parquet", folder / "out", scratch=folder / "scratch",
                batch_size=1024, dtype="float16",
            )  # fmt: skip

        written = seconds(write)
        texts = FeatureStore.load(folder / "out").layer(2)
        images = np.load(folder / "out" / "layer_1.npy", mmap_mode="r")
        numbers = np.arange(rows).reshape(pairs, CAPTIONS)
        none = np.empty((pairs, 0), np.int64)

        def items(n: int) -> Items:
            sides = {
                "image": SideRows(images, numbers[:n, :1], none[:n]),
                "text": SideRows(texts, numbers[:n], none[:n]),
            }
            return Items(sides)

        objective = Objective(model="linear", loss="con", latent=(128,), learning_rate=1e-3)
        schedule = Training(
            criterion="mean", batch_size=1024, epochs=1, patience=1, weight_decay=(0.0,), clip_norm=1.0,
            temperature=0.07,
            learn_temperature=False, whitening=(None,), captions="mean",
        )  # fmt: skip
        epoch = seconds(lambda: train(items(pairs), items(100), objective, schedule, seed=0))
        disk = sum(path.stat().st_size for path in (folder / "out").glob("*.npy")) / 1e9
    return [f"{rows:,} × {width} × {layers}", f"{disk:.1f}", f"{written:.0f}", f"{epoch:.0f}", f"{peak_mib():.0f}"]


class RandomStates(Encoder):
    """A text encoder without a model: states drawn from a fixed table, by the number that the text names."""

    def __init__(self, width: int, layers: int) -> None:
        self.manifest = Manifest(id="random", modality="text", source="cave", pooling="mean", sha256="")
        self.model = torch.nn.Linear(1, 1)
        self.model.device = torch.device("cpu")
        self._dims = (width,) * layers
        self._table = torch.randn(4096, width, generator=torch.Generator().manual_seed(0))
        self.autocast = False

    dims = property(lambda self: self._dims)
    max_tokens = 8

    def describe(self) -> dict[str, Any]:
        """Nothing to tell it by."""
        return {"id": "random"}

    def token_counts(self, texts: Sequence[str]) -> np.ndarray:
        """One each."""
        return np.ones(len(texts), dtype=np.int64)

    def prepare(self, batch: Sequence[Any]) -> dict[str, Tensor]:
        """The numbers that the texts are."""
        return {"numbers": torch.tensor([int(text) for text in batch])}

    def pooled_states(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """Rows of the table, other ones in every layer."""
        numbers = inputs["numbers"]
        return [self._table[(numbers * (layer + 1)) % len(self._table)] for layer in range(len(self._dims))]


def sentences(number: int) -> dict[str, Any]:
    """A pair without image whose captions are numbers."""
    captions = [str(CAPTIONS * number + k) for k in range(CAPTIONS)]
    return empty(f"{number:07d}") | {"captions": captions}


def pair(number: int, rng: np.random.Generator, photo: bool = False) -> dict[str, Any]:
    """A random image of 32 × 48 pixels, or a JPEG of 480 × 360, and a sentence."""
    buffer = io.BytesIO()
    image = Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8))
    if photo:
        image.resize((480, 360), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    else:
        image.save(buffer, "PNG")
    caption = f"number {number}: at the top left a small red seven, at the bottom right a large blue three"
    return empty(str(number)) | {"image": {"bytes": buffer.getvalue(), "path": ""}, "captions": [caption]}


def empty(name: str) -> dict[str, Any]:
    """A row with nothing in it."""
    return {"id": name, "image": None, "negatives": [], "context": "", "labels": [], "reality": None}


def random_regnet(folder: Path) -> Path:
    """An untrained RegNet of the size of the cave's largest."""
    from transformers import RegNetConfig, RegNetModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    config = RegNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[1] * 4, groups_width=16, layer_type="y",
        downsample_in_first_stage=False,
    )  # fmt: skip
    processor = ViTImageProcessorPil(
        size={"height": 32, "width": 48}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    )
    save_cave(folder, RegNetModel(config), processor, name="regnet", modality="image", recipe={})
    return folder


def random_dinov2(folder: Path) -> Path:
    """An untrained DINOv2 of the size of the smallest published one, with its image processor's settings."""
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14)
    processor = BitImageProcessorPil(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224})
    save_cave(folder, Dinov2Model(config), processor, name="dinov2", modality="image", recipe={}, pooling="cls")
    return folder


if __name__ == "__main__":
    print(section(chosen(parser(__doc__).parse_args())))
