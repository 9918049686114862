"""Files of a checkpoint's folder that would make the libraries do something else than load it are refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel, modeling_utils

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.families.generic_pipelines import PIPELINES
from gpu_runtime.tiny.pipelines import make_tiny
from gpu_runtime.weights.pipeline_loader import load_pipeline


@pytest.fixture(scope="module")
def pixart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("pixart", tmp_path_factory.mktemp("pixart"))


def load(folder: Path) -> Any:
    """The pipeline, untyped in diffusers."""
    return load_pipeline(folder, PIPELINES, dtype=torch.float32, device=torch.device("cpu")).pipeline


def with_own(checkpoint: Path, part: str, folder: Path) -> tuple[Path, Path]:
    """A copy of the checkpoint, and the folder of one of its components."""
    shutil.copytree(checkpoint, folder)
    return folder, folder / part


def test_adapter_beside_the_weights_is_refused(pixart: Path, tmp_path: Path) -> None:
    odd, encoder = with_own(pixart, "text_encoder", tmp_path / "odd")
    (encoder / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedCombination, match=r"text_encoder has an adapter"):
        load(odd)


@pytest.mark.parametrize("value", ["someone/kernel", "flash_attention_2"])
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_configuration_does_not_choose_how_a_network_runs(
    key: str, value: str, pixart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        modeling_utils, "lazy_import_flash_attention", lambda name, **_: asked.append(name) or (None, None)
    )
    odd, encoder = with_own(pixart, "text_encoder", tmp_path / "odd")
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps(config | {key: value}))
    usual = load(pixart).text_encoder.config._attn_implementation
    assert load(odd).text_encoder.config._attn_implementation == usual
    assert asked == []


def test_quantised_network_is_refused(pixart: Path, tmp_path: Path) -> None:
    odd, transformer = with_own(pixart, "transformer", tmp_path / "odd")
    config = json.loads((transformer / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (transformer / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedCombination, match=r"transformer is quantised"):
        load(odd)


def test_package_that_a_network_lacks_is_named(pixart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ImportError("needs a package called sentinel")

    monkeypatch.setattr(T5EncoderModel, "__init__", refuse)
    with pytest.raises(UnsupportedCombination, match="needs a package called sentinel"):
        load(pixart)


@pytest.mark.parametrize("name", ["../weights.safetensors", "/weights.safetensors", "weights.bin"])
def test_shards_outside_of_the_folder_are_refused(name: str, pixart: Path, tmp_path: Path) -> None:
    odd, encoder = with_own(pixart, "text_encoder", tmp_path / "odd")
    weights = encoder / "model.safetensors"
    tensors = load_file(weights)
    weights.rename(tmp_path / "odd" / "weights.safetensors")
    save_file({}, encoder / "other.safetensors")
    (encoder / "weights.bin").write_bytes(b"")
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, name)}
    (encoder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointMissing, match=re.escape(name)):
        load(odd)


def test_setting_of_the_wrong_type_is_damage(pixart: Path, tmp_path: Path) -> None:
    odd, encoder = with_own(pixart, "text_encoder", tmp_path / "odd")
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps(config | {"num_layers": "many"}))
    with pytest.raises(WeightsCorrupt, match="num_layers"):
        load(odd)


def test_number_of_noise_levels_is_limited(pixart: Path, tmp_path: Path) -> None:
    odd, scheduler = with_own(pixart, "scheduler", tmp_path / "odd")
    config = json.loads((scheduler / "scheduler_config.json").read_text())
    config["num_train_timesteps"] = 10**9
    (scheduler / "scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsCorrupt, match="num_train_timesteps"):
        load(odd)


def test_distributed_checkpoint_is_refused(pixart: Path, tmp_path: Path) -> None:
    odd, encoder = with_own(pixart, "text_encoder", tmp_path / "odd")
    shutil.copy(encoder / "model.safetensors", encoder / "shard-00001-model-00001-of-00001.safetensors")
    with pytest.raises(UnsupportedCombination, match="text_encoder holds a distributed checkpoint"):
        load(odd)
