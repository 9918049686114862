"""Components in host memory: in which form, which stay, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpu_runtime.errors import CheckpointMissing, WeightsCorrupt
from gpu_runtime.tiny.pipelines import make_tiny
from gpu_runtime.weights.loader import NETWORKS
from gpu_runtime.weights.modules import architecture_of
from gpu_runtime.weights.safetensors_header import read_header
from gpu_runtime.weights.slots import Slot, SlotPool
from gpu_runtime.weights.staging import Staging, read_config, weight_files

CPU = torch.device("cpu")
WEIGHTS = "diffusion_pytorch_model.safetensors"
PLENTY = 2**30


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("sd15", tmp_path_factory.mktemp("tiny") / "sd15") / "unet"


@pytest.fixture
def copied(unet: Path, tmp_path: Path) -> Path:
    """A copy that the test may break."""
    return Path(shutil.copytree(unet, tmp_path / "unet"))


def slot_for(folder: Path, dtype: torch.dtype = torch.float32) -> Slot:
    config, known = read_config(folder), NETWORKS["UNet2DConditionModel"]
    return SlotPool().take(architecture_of(known, config, dtype, CPU), known, config)


def test_tensors_of_the_right_type_stay_in_the_mapped_file(unet: Path) -> None:
    staged = Staging(CPU, budget_bytes=PLENTY).get("unet", unet, slot_for(unet))
    offsets = read_header(unet / WEIGHTS).offsets
    assert len({tensor.data_ptr() - offsets[name][0] for name, tensor in staged.tensors.items()}) == 1
    assert staged.size_bytes == sum(t.numel() * 4 for t in load_file(unet / WEIGHTS).values())


def test_other_types_are_converted_once(unet: Path) -> None:
    staging = Staging(CPU, budget_bytes=PLENTY)
    slot = slot_for(unet, torch.bfloat16)
    staged = staging.get("unet", unet, slot)
    assert {tensor.dtype for tensor in staged.tensors.values()} == {torch.bfloat16}
    assert staged.size_bytes == slot.size_bytes
    assert staging.get("unet", unet, slot) is staged
    for name, tensor in load_file(unet / WEIGHTS).items():
        assert torch.equal(staged.tensors[name], tensor.bfloat16())


def test_least_recently_used_leaves_for_another(unet: Path) -> None:
    slot = slot_for(unet)
    staging = Staging(CPU, budget_bytes=2 * slot.size_bytes)
    for key in ("a", "b", "a", "c"):
        staging.get(key, unet, slot)
    assert [staging.has(key) for key in ("a", "b", "c")] == [True, False, True]
    assert staging.size_bytes == 2 * slot.size_bytes
    assert staging.drop(["a", "b"]) == slot.size_bytes
    assert [staging.has(key) for key in ("a", "b", "c")] == [False, False, True]


def test_component_larger_than_the_budget_is_read_and_not_kept(unet: Path) -> None:
    slot = slot_for(unet, torch.bfloat16)
    staging = Staging(CPU, budget_bytes=slot.size_bytes - 1)
    staged = staging.get("unet", unet, slot)
    assert not staging.has("unet")
    assert staging.size_bytes == 0
    slot.fill(staged.tensors)
    for name, tensor in load_file(unet / WEIGHTS).items():
        assert torch.equal(slot.tensors[name], tensor.bfloat16())


def test_shards_are_read_as_their_index_says(copied: Path) -> None:
    tensors = load_file(copied / WEIGHTS)
    (copied / WEIGHTS).unlink()
    names = sorted(tensors)
    files = {"one-00001.safetensors": names[::2], "two-00002.safetensors": names[1::2]}
    for file, held in files.items():
        save_file({name: tensors[name] for name in held}, copied / file)
    save_file({names[0]: torch.zeros(1)}, copied / "stray.safetensors")
    index = {"weight_map": {name: file for file, held in files.items() for name in held}}
    (copied / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    staged = Staging(CPU, budget_bytes=PLENTY).get("unet", copied, slot_for(copied))
    assert all(torch.equal(staged.tensors[name], tensors[name]) for name in names)


def test_file_of_the_usual_name_is_preferred_to_variants(copied: Path) -> None:
    shutil.copy(copied / WEIGHTS, copied / "diffusion_pytorch_model.fp16.safetensors")
    assert weight_files(copied) == (copied / WEIGHTS,)


def test_lone_file_may_have_any_name(copied: Path) -> None:
    (copied / WEIGHTS).rename(copied / "other.safetensors")
    assert weight_files(copied) == (copied / "other.safetensors",)


def _truncate(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def _drop_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors.pop("conv_in.weight")
    save_file(tensors, folder / WEIGHTS)


def _reshape_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({**tensors, "conv_in.bias": torch.zeros(3)}, folder / WEIGHTS)


def _rename_both(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder / "a.safetensors")
    (folder / WEIGHTS).rename(folder / "b.safetensors")


def _lead_outside(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder.parent / "outside.safetensors")
    (folder / f"{WEIGHTS}.index.json").write_text(
        '{"weight_map": {"conv_in.bias": "../outside.safetensors"}}'
    )


def _name_no_shard(folder: Path) -> None:
    (folder / f"{WEIGHTS}.index.json").write_text('{"weight_map": {"conv_in.bias": "gone.safetensors"}}')


def _damage_index(folder: Path) -> None:
    (folder / f"{WEIGHTS}.index.json").write_text('{"weight_map": [1]}')


@pytest.mark.parametrize(
    ("harm", "fault", "words"),
    [
        (_truncate, WeightsCorrupt, "truncated"),
        (_drop_tensor, WeightsCorrupt, "lacks 1 tensors of a UNet2DConditionModel.* first: conv_in.weight"),
        (_reshape_tensor, WeightsCorrupt, "first: conv_in.bias"),
        (lambda folder: (folder / WEIGHTS).unlink(), CheckpointMissing, "no .safetensors file"),
        (_rename_both, CheckpointMissing, "2 .safetensors files and none is called model"),
        (_lead_outside, CheckpointMissing, "outside.safetensors"),
        (_name_no_shard, CheckpointMissing, "gone.safetensors"),
        (_damage_index, WeightsCorrupt, "index.json is damaged"),
    ],
)
def test_broken_component_is_refused_and_not_kept(
    harm: Callable[[Path], object], fault: type[Exception], words: str, copied: Path
) -> None:
    slot = slot_for(copied)
    harm(copied)
    staging = Staging(CPU, budget_bytes=PLENTY)
    with pytest.raises(fault, match=words):
        staging.get("unet", copied, slot)
    assert not staging.has("unet")


@pytest.mark.parametrize(
    ("text", "fault", "words"),
    [
        (None, CheckpointMissing, "no config.json"),
        ("{", WeightsCorrupt, "damaged"),
        ("[]", WeightsCorrupt, "no object"),
    ],
)
def test_broken_configuration_is_named(
    text: str | None, fault: type[Exception], words: str, copied: Path
) -> None:
    (copied / "config.json").unlink()
    if text is not None:
        (copied / "config.json").write_text(text)
    with pytest.raises(fault, match=words):
        read_config(copied)
