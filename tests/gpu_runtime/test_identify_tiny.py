"""Tiny models in the real layouts identify like real ones: structure decides, not size."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_runtime.tiny.lora import BASE_VERSIONS, FORMATS, make_tiny_lora
from gpu_runtime.tiny.original_layout import write_single_file
from gpu_runtime.tiny.pipelines import RECIPES
from gpu_runtime.tiny.single_components import (
    CONTROLNETS,
    EMBEDDED,
    make_tiny_controlnet,
    make_tiny_embedding,
    make_tiny_vae,
)
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.taxonomy import FileFormat, ModelKind
from tests.gpu_runtime.tiny_folders import tiny_folder

pytestmark = pytest.mark.slow

BATCHED = {
    "sd15": ("sd15", "base"),
    "sd15-inpaint": ("sd15", "inpaint"),
    "sd2": ("sd2", "base"),
    "sdxl": ("sdxl", "base"),
    "sdxl-inpaint": ("sdxl", "inpaint"),
    "sdxl-refiner": ("sdxl", "refiner"),
    "sd3": ("sd3", "medium"),
    "sd3.5-large": ("sd3", "3.5-large"),
    "sd3.5-medium": ("sd3", "3.5-medium"),
    "flux": ("flux", "dev"),
    "flux-schnell": ("flux", "schnell"),
    "flux-fill": ("flux", "fill"),
}
"""Family and variant by recipe, for folders and single files alike."""

RELATED = ("pixart-alpha", "flux2-klein-kv", "kandinsky2.2", "wuerstchen")
"""Recipes of a family that are called otherwise."""

OTHERS = sorted(set(RECIPES) - set(BATCHED) - {"sd2-base", "sdxl-turbo", "flux-kontext"})

FORMAT_OF = {"kohya": FileFormat.KOHYA, "diffusers": FileFormat.DIFFUSERS_LORA, "peft": FileFormat.PEFT}


@pytest.mark.parametrize("recipe", BATCHED)
def test_folder_and_single_file_are_identified_alike(recipe: str, tmp_path: Path) -> None:
    folder = tiny_folder(recipe, tmp_path / "made" / "it")
    found = identify(folder)
    assert (found.kind, (found.family, found.variant)) == (ModelKind.CHECKPOINT, BATCHED[recipe])
    single = identify(write_single_file(found.family, folder, tmp_path / "made" / "one.safetensors"))
    assert (single.family, single.variant) == BATCHED[recipe]
    assert single.file_format is FileFormat.SINGLE_FILE
    assert {each.name for each in single.components} == {each.name for each in found.components}
    assert "missing" not in single.details


@pytest.mark.parametrize("recipe", OTHERS)
def test_families_of_diffusers_pipelines_are_identified(recipe: str, tmp_path: Path) -> None:
    found = identify(tiny_folder(recipe, tmp_path / "made" / "it"))
    assert found.kind is ModelKind.CHECKPOINT
    assert recipe in (found.family, f"{found.family}-{found.variant}") or recipe in RELATED


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("family", BASE_VERSIONS)
def test_loras_are_identified(family: str, file_format: str, tmp_path: Path) -> None:
    file = make_tiny_lora(family, tmp_path / "made.safetensors", rank=3, file_format=file_format)
    found = identify(file)
    assert (found.kind, found.family) == (ModelKind.LORA, family)
    assert (found.file_format, found.details["rank"]) == (FORMAT_OF[file_format], 3)


@pytest.mark.parametrize("name", CONTROLNETS)
def test_controlnets_are_identified(name: str, tmp_path: Path) -> None:
    family, _, form = name.partition("-")
    control = identify(make_tiny_controlnet(name, tmp_path / "softedge"))
    variant = "union" if form == "union" else "softedge"
    assert (control.kind, control.family, control.variant) == (ModelKind.CONTROLNET, family, variant)


@pytest.mark.parametrize("family", [name for name in CONTROLNETS if "-" not in name])
def test_vaes_are_identified(family: str, tmp_path: Path) -> None:
    vae = identify(make_tiny_vae(family, tmp_path / "decoder"))
    assert vae.kind is ModelKind.VAE
    assert vae.family == ("sd15" if family == "sd2" else family)


@pytest.mark.parametrize("family", EMBEDDED)
def test_embeddings_are_identified(family: str, tmp_path: Path) -> None:
    found = identify(make_tiny_embedding(family, tmp_path / f"{family}-word.safetensors", vectors=3))
    assert (found.kind, found.family, found.details["vectors"]) == (ModelKind.EMBEDDING, family, 3)


def test_starter_model_is_identified() -> None:
    found = identify(Path(__file__).resolve().parents[2] / "gpu_runtime" / "starter")
    assert (found.kind, found.family, found.variant) == (ModelKind.CHECKPOINT, "sd15", "base")
    assert found.details["prediction_type"] == "v_prediction"
