"""Models that operations need, from their import to the request that uses them: tiny, really converted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.catalog.choices import ImportSource
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.runner import Tools
from apps.catalog.models import CatalogEntry
from apps.generation.adapters import entries_of
from apps.generation.choices import Kind
from apps.generation.wishes import BackgroundWish, IpAdapterWish
from apps.generation.work_plan import work_request
from gpu_runtime.postprocess.cutouts import load_cut_out
from tests.apps.catalog.imports.studio import bring_in
from tests.apps.catalog.imports.weights_files import Shape, safetensors_bytes
from tests.apps.generation.studio import Studio, reread
from tests.apps.generation.test_work_plan import stored
from tests.factories import make_adapter
from tests.gpu_runtime.onnx_files import write_cut_out

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

WIDTH, PROJECTED, LAYERS = 16, 8, 2


@pytest.fixture(autouse=True)
def model_dir(tmp_path: Path, settings: Any) -> Path:
    settings.MODEL_DIR = tmp_path / "models"
    settings.MODEL_DIR.mkdir()
    return tmp_path / "models"


def bring(path: Path, **fields: Any) -> CatalogEntry:
    """Imported by the real child process."""
    options = ImportOptions(source=ImportSource.FOLDER, address=str(path), is_anywhere=True, **fields)
    row = bring_in(options, convert=Tools().convert)
    assert (row.state, row.error_message) == ("succeeded", "")
    assert row.entry is not None
    return CatalogEntry.objects.get(pk=row.entry.pk)


def encoder_tensors() -> dict[str, Shape]:
    """A CLIP that sees: pictures of 32 pixels, patches of 8."""
    tensors: dict[str, Shape] = {
        "vision_model.embeddings.class_embedding": [WIDTH],
        "vision_model.embeddings.patch_embedding.weight": [WIDTH, 3, 8, 8],
        "vision_model.embeddings.position_embedding.weight": [17, WIDTH],
        "visual_projection.weight": [PROJECTED, WIDTH],
    }
    norms = ["vision_model.pre_layrnorm", "vision_model.post_layernorm"]
    for number in range(LAYERS):
        layer = f"vision_model.encoder.layers.{number}"
        norms += [f"{layer}.layer_norm1", f"{layer}.layer_norm2"]
        shapes = {f"self_attn.{part}_proj": [WIDTH, WIDTH] for part in ("q", "k", "v", "out")}
        for part, shape in {**shapes, "mlp.fc1": [2 * WIDTH, WIDTH], "mlp.fc2": [WIDTH, 2 * WIDTH]}.items():
            tensors |= {f"{layer}.{part}.weight": shape, f"{layer}.{part}.bias": shape[:1]}
    return tensors | {f"{norm}.{part}": [WIDTH] for norm in norms for part in ("weight", "bias")}


def adapter_tensors() -> dict[str, Shape]:
    """A plain IP-adapter of Stable Diffusion 1."""
    tensors: dict[str, Shape] = {
        "image_proj.proj.weight": [4 * 768, PROJECTED],
        "image_proj.proj.bias": [4 * 768],
        "image_proj.norm.weight": [768],
        "image_proj.norm.bias": [768],
    }
    layers = [f"ip_adapter.{number}.to_{part}_ip.weight" for number in range(1, 32, 2) for part in "kv"]
    return tensors | {name: [4, 768] for name in layers}


def write_repository(folder: Path, *, seed: int = 0) -> Path:
    """An IP-adapter and the encoder it sees with, as a hub has them."""
    encoder = folder / "image_encoder"
    encoder.mkdir(parents=True)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "projection_dim": PROJECTED}
    config = sizes | {
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    names = {"architectures": ["CLIPVisionModelWithProjection"], "model_type": "clip_vision_model"}
    (encoder / "config.json").write_text(json.dumps(config | names))
    (encoder / "model.safetensors").write_bytes(safetensors_bytes(encoder_tensors()))
    (folder / "ip-adapter.safetensors").write_bytes(safetensors_bytes(adapter_tensors(), seed=seed))
    return folder


def test_an_ip_adapter_comes_in_with_what_it_sees_with(studio: Studio, tmp_path: Path) -> None:
    make_adapter("other-eyes", kind="preprocessor", family="", variant="image_encoder", use_count=100)

    adapter = bring(write_repository(tmp_path / "plain"), name="plain", licence="apache-2.0")

    encoder = CatalogEntry.objects.get(name="plain-image-encoder")
    assert (adapter.kind, adapter.family, adapter.details["encoder"]) == ("ip_adapter", "sd15", encoder.name)
    assert (encoder.kind, encoder.variant, encoder.licence) == ("preprocessor", "image_encoder", "apache-2.0")
    assert encoder.details["projected"] == adapter.details["picture_width"] == PROJECTED
    assert [part["name"] for part in adapter.components] == ["ip_adapter"]
    assert adapter.size_bytes < sum(file.stat().st_size for file in (tmp_path / "plain").rglob("*.*"))
    wish = IpAdapterWish(name="plain", pictures=(stored("p"),), scale=0.6)
    job = reread(studio.submit(ip_adapters=(wish,)))
    image = work_request(job, entries_of([job])).image
    assert image is not None
    [used] = image.ip_adapters
    assert (used.path, used.encoder_path) == (f"{adapter.path}/weights.safetensors", encoder.path)
    assert (used.digest, used.encoder_digest, used.scale) == (adapter.digest, encoder.digest, 0.6)
    assert Path(used.path).is_file() and (Path(used.encoder_path) / "model.safetensors").is_file()


def test_a_cut_out_network_is_asked_as_its_import_said(studio: Studio, tmp_path: Path) -> None:
    sides = {"image": ("n", 3, "h", "w"), "mask": ("n", 1, "h", "w")}
    file = write_cut_out(tmp_path / "reds.onnx", **sides)
    colours = {"input_px": 48, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}

    entry = bring(file, licence="mit", details=colours)

    assert (entry.kind, entry.variant) == ("background_removal", "general")
    picture = stored("p")
    job = studio.submit(
        kind=Kind.REMOVE_BACKGROUND, checkpoint="", image=picture, background=BackgroundWish()
    )
    job = reread(job)
    request = work_request(job, entries_of([job]))
    [operation] = [each for each in request.after if each.name == "background.remove"]
    asset = operation.assets["model"]
    network = load_cut_out(Path(asset.path), variant=asset.variant, details=asset.details)
    assert (network.input_px, network.mean, network.std) == (48, (0.5,) * 3, (0.25,) * 3)
    seen = np.zeros((60, 90, 3), dtype=np.uint8)
    seen[:, :45] = (255, 0, 0)
    seen[:, 45:] = (0, 0, 255)
    mask = network.look(seen)
    assert mask.shape == (48, 48)
    assert mask[:, :20].min() > 0.9 > 0.1 > mask[:, 28:].max()
