"""Networks beside a checkpoint's own: shared, counted, evicted and brought back like the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection

from gpu_runtime.errors import OutOfMemory, WeightsCorrupt
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.tiny.ip_adapters import make_tiny_ip_adapter
from gpu_runtime.tiny.single_components import make_tiny_controlnet
from gpu_runtime.weights.checkpoint_files import file_bytes, weights_bytes
from gpu_runtime.weights.loans import FileLoan, Loan, NetworkLoan
from tests.gpu_runtime.weight_store import Clock, TinyStore, megabytes, residency, size_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    return TinyStore(tmp_path_factory.mktemp("lending"))


@pytest.fixture(scope="module")
def checkpoint(store: TinyStore) -> CheckpointRef:
    return store.checkpoint("base", seed=1)


@pytest.fixture(scope="module")
def controls(store: TinyStore) -> list[NetworkLoan]:
    """Three ControlNets of one size."""
    folders = [make_tiny_controlnet("sd15", store.folder / f"control-{n}", seed=n) for n in range(3)]
    return [
        NetworkLoan(digest=folder.name, folder=folder, class_name="ControlNetModel", dtype=torch.float32)
        for folder in folders
    ]


class Building:
    """Stands for what makes networks of a file; counts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.made = 0

    def __call__(self) -> dict[str, Any]:
        self.made += 1
        return load_file(self.file)

    def loan(self) -> FileLoan:
        return FileLoan(digest="an adapter", file=self.file, dtype=torch.float32, build=self)


@pytest.fixture
def building(store: TinyStore) -> Building:
    return Building(make_tiny_ip_adapter("sd15", store.folder / "adapter.safetensors"))


def room_for(checkpoint: CheckpointRef, *more_bytes: int) -> float:
    """A budget in megabytes for the checkpoint and this beside it."""
    return megabytes(size_of(checkpoint) + sum(more_bytes) + 1000)


def bytes_of(loan: NetworkLoan) -> int:
    return weights_bytes(loan.folder, loan.dtype)


def test_network_is_loaded_once_and_counted(checkpoint: CheckpointRef, controls: list[NetworkLoan]) -> None:
    weights = residency(Clock())
    weights.get(checkpoint)
    first = weights.borrow(controls[:1], beside=checkpoint.digest)[controls[0]]
    again = weights.borrow(controls[:1], beside=checkpoint.digest)[controls[0]]
    assert again is first
    assert weights.loads == 3 + 1
    assert weights.size_bytes == size_of(checkpoint) + bytes_of(controls[0])
    stored = load_file(controls[0].folder / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(value, stored[name]) for name, value in first.state_dict().items())


def test_networks_leave_for_one_another_and_the_checkpoint_stays(
    checkpoint: CheckpointRef, controls: list[NetworkLoan], building: Building
) -> None:
    budget = room_for(checkpoint, bytes_of(controls[0]))
    weights = residency(Clock(), weights_budget_mb=budget)
    family = weights.get(checkpoint)
    loans: list[Loan] = [*controls, building.loan(), controls[0], building.loan()]
    for loan in loans:
        assert loan in weights.borrow([loan], beside=checkpoint.digest)
        assert megabytes(weights.size_bytes) <= budget
    assert weights.get(checkpoint) is family
    assert building.made == 2


def test_networks_of_one_turn_do_not_push_each_other_out(
    checkpoint: CheckpointRef, controls: list[NetworkLoan]
) -> None:
    two = bytes_of(controls[0]) + bytes_of(controls[1])
    weights = residency(Clock(), weights_budget_mb=room_for(checkpoint, two))
    family = weights.get(checkpoint)
    weights.borrow(controls[2:], beside=checkpoint.digest)
    lent = weights.borrow(controls[:2], beside=checkpoint.digest)
    assert len({id(module) for module in lent.values()}) == 2
    with pytest.raises(OutOfMemory):
        weights.borrow(controls, beside=checkpoint.digest)
    assert weights.get(checkpoint) is family


def test_what_held_requests_need_leaves_last(checkpoint: CheckpointRef, controls: list[NetworkLoan]) -> None:
    wanted = {checkpoint.digest, controls[0].digest}
    two = bytes_of(controls[0]) + bytes_of(controls[1])
    weights = residency(Clock(), wanted=wanted, weights_budget_mb=room_for(checkpoint, two))
    weights.get(checkpoint)
    for loan in controls:
        weights.borrow([loan], beside=checkpoint.digest)
    loads = weights.loads
    weights.borrow(controls[:1], beside=checkpoint.digest)
    assert weights.loads == loads, "the wanted one is still there, though it was used first"


def test_file_is_built_once_until_it_is_unloaded(checkpoint: CheckpointRef, building: Building) -> None:
    weights = residency(Clock())
    weights.get(checkpoint)
    loan = building.loan()
    first = weights.borrow([loan], beside=checkpoint.digest)[loan]
    same = building.loan()
    assert weights.borrow([same], beside=checkpoint.digest)[same] is first
    assert weights.size_bytes == size_of(checkpoint) + file_bytes(building.file, torch.float32)
    assert weights.unload(loan.digest, keep=()) == file_bytes(building.file, torch.float32)
    assert weights.size_bytes == size_of(checkpoint)
    weights.borrow([loan], beside=checkpoint.digest)
    assert building.made == 2


def test_damaged_network_costs_nothing(
    checkpoint: CheckpointRef, controls: list[NetworkLoan], tmp_path: Path
) -> None:
    weights = residency(Clock())
    weights.get(checkpoint)
    before = weights.size_bytes
    folder = make_tiny_controlnet("sd15", tmp_path / "damaged")
    file = folder / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    loan = NetworkLoan(digest="damaged", folder=folder, class_name="ControlNetModel", dtype=torch.float32)
    with pytest.raises(WeightsCorrupt):
        weights.borrow([loan], beside=checkpoint.digest)
    assert weights.size_bytes == before


def test_encoder_of_pictures_is_found_in_a_whole_clip(checkpoint: CheckpointRef, tmp_path: Path) -> None:
    """As OpenAI published it, which adapters for FLUX.1 ask for."""
    halves = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    seeing = {**halves, "image_size": 32, "patch_size": 16, "projection_dim": 12}
    config = CLIPConfig(text_config={**halves, "vocab_size": 50}, vision_config=seeing, projection_dim=12)
    CLIPModel(config).save_pretrained(tmp_path)
    weights = residency(Clock())
    weights.get(checkpoint)
    loan = NetworkLoan(
        digest="clip", folder=tmp_path, class_name="CLIPVisionModelWithProjection", dtype=torch.float32
    )
    pixels = torch.rand(1, 3, 32, 32)
    ours = weights.borrow([loan], beside=checkpoint.digest)[loan](pixels).image_embeds
    theirs = CLIPVisionModelWithProjection.from_pretrained(tmp_path)(pixels).image_embeds
    assert torch.equal(ours, theirs)
