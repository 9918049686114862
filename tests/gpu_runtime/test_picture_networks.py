"""Networks that look at pictures: recognised by their class, stored, and used by their operations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionModelWithProjection,
    SiglipConfig,
    SiglipModel,
    SwinConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from gpu_runtime.errors import NotRecognised, WeightsCorrupt
from gpu_runtime.tiny.ip_adapters import make_tiny_picture_encoder
from gpu_runtime.weights.identification.picture_networks import PICTURE_NETWORKS
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.taxonomy import ModelKind
from gpu_runtime.work import Asset
from tests.gpu_runtime.import_jobs import Workshop
from tests.gpu_runtime.operations import test_imported_networks as tiny
from tests.gpu_runtime.operations.running import context_of, run

SQUARE = {"size": {"height": 32, "width": 32}}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def upernet() -> UperNetForSemanticSegmentation:
    torch.manual_seed(0)
    backbone = SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=2,
        image_size=32,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=8,
        pool_scales=[1, 2],
        auxiliary_channels=8,
        auxiliary_in_channels=32,
        num_labels=150,
    )
    return UperNetForSemanticSegmentation(config)


READERS: dict[str, tuple[Callable[[], Any], str, str, dict[str, Any]]] = {
    "dpt": (tiny.dpt, "depth", "detect.depth", {}),
    "depth-anything": (tiny.depth_anything, "depth", "detect.depth", {}),
    "segformer": (lambda: tiny.segformer(150), "segmentation", "detect.segmentation", {}),
    "upernet": (upernet, "segmentation", "detect.segmentation", {}),
    "blip": (tiny.blip, "caption", "picture.caption", {"length": 4}),
    "clipseg": (lambda: tiny.clipseg(0.0), "text_mask", "mask.from_text", {"text": "cat", "threshold": 0.45}),
}
"""Maker, variant, the operation it is for, and that operation's settings."""


def published(workshop: Workshop, name: str) -> Path:
    """The folder as a hub has it: with the preprocessor of a class of its own, and other files."""
    folder = workshop.root / "sources" / name
    make, variant, _, _ = READERS[name]
    if variant in ("caption", "text_mask"):
        tiny.tokenizer(folder)
    size = {"height": 28, "width": 28} if name == "depth-anything" else SQUARE["size"]
    tiny.saved(make(), folder, size=size, image_processor_type="TheirOwnProcessor", image_mean=[0.5] * 3)
    (folder / "README.md").write_text("A card.")
    (folder / "modeling_own.py").write_text("raise SystemExit('code of a repository was run')")
    return folder


@pytest.mark.parametrize("name", READERS)
def test_reader_comes_in_and_serves_its_operation(workshop: Workshop, name: str) -> None:
    folder = published(workshop, name)
    _, variant, operation, settings = READERS[name]

    imported = workshop.run(folder)

    found = imported.identified
    assert (found.kind, found.family, found.variant) == (ModelKind.PREPROCESSOR, "", variant)
    assert workshop.store.verify(imported.digest) == []
    files = {file.name for file in imported.path.iterdir()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= files
    assert not {"README.md", "modeling_own.py"} & files
    assert "TheirOwnProcessor" not in (imported.path / "preprocessor_config.json").read_text()

    def made(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        asset = Asset(name="model", path=str(path), digest=str(path), variant=variant)
        with torch.inference_mode():
            context = run(context_of(operation, {"image": tiny.SMALL}, assets={"model": asset}, **settings))
        return context.outputs, context.notes

    (before, told), (after, told_after) = made(folder), made(imported.path)
    assert told == told_after
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_the_same_reader_again_is_the_same_component(workshop: Workshop) -> None:
    folder = published(workshop, "segformer")
    first = workshop.run(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_name_or_path": "/home/author/model"}))
    assert workshop.run(folder.rename(folder.with_name("renamed"))).digest == first.digest


def whole_clip(kind: str, folder: Path) -> Path:
    """A model that reads and sees, whose half that sees is the tiny encoder's."""
    eyes = make_tiny_picture_encoder(kind, folder.with_name(f"{kind}-eyes"))
    vision = json.loads((eyes / "config.json").read_text())
    text = tiny.TINY | {"vocab_size": 12, "max_position_embeddings": 16}
    projected = {"projection_dim": 16} if kind == "clip" else {}
    config = (CLIPConfig if kind == "clip" else SiglipConfig)(
        text_config=text | projected, vision_config=vision, **projected
    )
    torch.manual_seed(1)
    whole = (CLIPModel if kind == "clip" else SiglipModel)(config)
    seen = load_file(eyes / "model.safetensors")
    prefix = "" if kind == "clip" else "vision_model."
    missing, extra = whole.load_state_dict({prefix + key: each for key, each in seen.items()}, strict=False)
    assert not extra
    assert not [key for key in missing if key.startswith("vision")]
    whole.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_image_encoder_is_one_component_whole_or_alone(workshop: Workshop, kind: str) -> None:
    alone = make_tiny_picture_encoder(kind, workshop.root / "image_encoder")

    imported = workshop.run(alone)

    expected = {
        "encoder_class": "CLIPVisionModelWithProjection",
        "width": 20,
        "image_px": 32,
        "projected": 16,
    }
    if kind == "siglip":
        expected = {"encoder_class": "SiglipVisionModel", "width": 20, "image_px": 32}
    found = imported.identified
    assert (found.kind, found.variant) == (ModelKind.PREPROCESSOR, "image_encoder")
    assert {name: value for name, value in found.details.items() if name != "files"} == expected
    assert workshop.run(whole_clip(kind, workshop.root / "whole")).digest == imported.digest
    # Released before transformers 5, with all names behind one prefix and a table that is computed.
    older = workshop.root / "older"
    shutil.copytree(alone, older)
    tensors = load_file(alone / "model.safetensors")
    eyes = {f"vision_model.{name.removeprefix('vision_model.')}": each for name, each in tensors.items()}
    if kind == "clip":
        eyes["visual_projection.weight"] = eyes.pop("vision_model.visual_projection.weight")
    eyes["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(eyes, older / "model.safetensors")
    assert workshop.run(older).digest == imported.digest


def test_stored_encoder_sees_what_the_published_one_sees(workshop: Workshop) -> None:
    alone = make_tiny_picture_encoder("clip", workshop.root / "image_encoder")
    stored = workshop.run(alone).path
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first, second = (
            CLIPVisionModelWithProjection.from_pretrained(each, local_files_only=True)(pixels).image_embeds
            for each in (alone, stored)
        )
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", READERS)
def test_torn_reader_is_corrupt_and_not_unknown(workshop: Workshop, name: str) -> None:
    folder = published(workshop, name)
    file = folder / "model.safetensors"
    class_name = json.loads((folder / "config.json").read_text())["architectures"][0]
    mark = PICTURE_NETWORKS[class_name].marks[-1]
    kept = {key: each for key, each in load_file(file).items() if not key.endswith(mark)}
    save_file(kept, file)
    with pytest.raises(WeightsCorrupt, match=f"{class_name} lacks {mark}"):
        identify(folder)


def test_tensors_that_only_the_child_looks_at_must_fit(workshop: Workshop) -> None:
    folder = published(workshop, "dpt")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({key: each for key, each in tensors.items() if "layernorm_before" not in key}, file)
    with pytest.raises(ImportRefused, match="layernorm_before") as refused:
        workshop.run(folder)
    assert refused.value.code == RefusalCode.WEIGHTS_CORRUPT
    assert workshop.contents() == {}


def test_captioner_without_its_tokenizer_is_incomplete(workshop: Workshop) -> None:
    folder = published(workshop, "blip")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(ImportRefused, match="has no tokenizer beside its weights") as refused:
        workshop.run(folder)
    assert refused.value.code == RefusalCode.MISSING_COMPONENT


def test_neighbours_are_named(workshop: Workshop) -> None:
    folder = make_tiny_picture_encoder("clip", workshop.root / "eyes")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["CLIPVisionModel"]}))
    with pytest.raises(NotRecognised, match="without its projection"):
        identify(folder)
    (folder / "config.json").unlink()
    with pytest.raises(NotRecognised, match=r"its folder with config\.json can be imported"):
        identify(folder)
