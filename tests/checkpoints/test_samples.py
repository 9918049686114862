"""The stored samples are what the recipes build from the real configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_runtime.weights.safetensors_header import read_header
from tests.checkpoints import samples
from tests.checkpoints.samples import load_sample, sample_names, write_sparse, write_sparse_sample
from tests.tools.strip_checkpoint import main, strip
from tests.tools.stripping.recipes import RECIPES

QUICK = (
    "vae-sd15",
    "flux-dev",
    "flux2-dev",
    "z-image-turbo",
    "upscaler-x4plus",
    "lora-flux-xlabs",
    "torn-vae",
)


def test_every_recipe_has_its_sample() -> None:
    assert sample_names() == sorted(RECIPES)


@pytest.mark.parametrize("name", QUICK)
def test_recipe_gives_the_stored_sample(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = (samples.FOLDER / f"{name}.json").read_bytes()
    monkeypatch.setattr(samples, "FOLDER", tmp_path / "stripped")
    samples.write_sample(name, strip(RECIPES[name]))
    assert (tmp_path / "stripped" / f"{name}.json").read_bytes() == stored
    made = load_sample(name).tensors
    monkeypatch.undo()
    assert made == load_sample(name).tensors


def test_sparse_file_has_the_sample_s_header_and_no_weight(tmp_path: Path) -> None:
    file = write_sparse_sample("sdxl", tmp_path)
    sample = load_sample("sdxl")
    header = read_header(file)
    assert (header.tensors, header.metadata) == (sample.tensors, sample.metadata)
    assert file.stat().st_size > 6 * 10**9
    assert file.stat().st_blocks * 512 < 10**6


def test_header_of_a_real_file_can_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = load_sample("vae-flux")
    file = write_sparse(tmp_path / "ae.safetensors", sample.tensors, {"modelspec.title": "AE"})
    monkeypatch.setattr(samples, "FOLDER", tmp_path / "stripped")
    assert main(["--from", str(file), "taken"]) == 0
    taken = load_sample("taken")
    assert (taken.file, taken.tensors) == ("ae.safetensors", sample.tensors)
    assert taken.metadata == {"modelspec.title": "AE"}
