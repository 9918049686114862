"""Weights on a device with memory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.weights import staging
from gpu_runtime.weights.loader import NETWORKS
from gpu_runtime.weights.modules import architecture_of
from gpu_runtime.weights.slots import Slot, SlotPool
from gpu_runtime.weights.staging import ALIGNMENT, Staging, read_config
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.weight_store import TinyStore, megabytes, size_of

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def slot_for(folder: Path, dtype: torch.dtype) -> Slot:
    config, known = read_config(folder), NETWORKS["UNet2DConditionModel"]
    device = torch.device("cpu")
    return SlotPool().take(architecture_of(known, config, dtype, device), known, config)


def test_page_locked_form_is_one_aligned_block_with_the_same_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout of the block, with ordinary memory in the place of page-locked."""
    blocks: list[torch.Tensor] = []

    def ordinary(size_bytes: int) -> torch.Tensor:
        blocks.append(torch.empty(size_bytes, dtype=torch.uint8))
        return blocks[-1]

    monkeypatch.setattr(staging, "page_locked", ordinary)
    unet = Path(TinyStore(tmp_path / "store").checkpoint("one", seed=1).path) / "unet"
    slot = slot_for(unet, torch.bfloat16)
    kept = Staging(torch.device("cuda", 0), budget_bytes=2**30)
    pinned = kept.get("unet", unet, slot).tensors
    mapped = Staging(torch.device("cpu"), budget_bytes=2**30).get("unet", unet, slot).tensors
    assert len(blocks) == 1
    start, end = blocks[0].data_ptr(), blocks[0].data_ptr() + blocks[0].numel()
    for name, tensor in pinned.items():
        assert torch.equal(tensor, mapped[name])
        assert (tensor.data_ptr() - start) % ALIGNMENT == 0
        assert tensor.data_ptr() + tensor.numel() * 2 <= end
    slot.fill(pinned)
    assert all(torch.equal(slot.tensors[name], mapped[name]) for name in mapped)


def test_weights_are_staged_in_ordinary_memory_when_the_system_locks_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(size_bytes: int) -> torch.Tensor:
        raise MemoryError(f"could not lock {size_bytes} bytes")

    monkeypatch.setattr(staging, "page_locked", refuse)
    unet = Path(TinyStore(tmp_path / "store").checkpoint("one", seed=1).path) / "unet"
    slot = slot_for(unet, torch.float32)
    kept = Staging(torch.device("cuda", 0), budget_bytes=2**30)
    slot.fill(kept.get("unet", unet, slot).tensors)
    assert kept.has("unet")
    assert "could not lock" in caplog.text


@pytest.mark.gpu
@needs_cuda
def test_page_locked_memory_is_page_locked_and_unlocked_with_its_last_view() -> None:
    block = staging.page_locked(1000)
    view = block[10:20]
    assert view.is_pinned()
    address = block.data_ptr()
    del block
    assert view.is_pinned()
    del view
    assert int(torch.cuda.cudart().cudaHostUnregister(address)) != 0


@pytest.mark.gpu
@needs_cuda
def test_swap_on_the_device_keeps_to_the_budget_and_to_the_images(tmp_path: Path) -> None:
    store = TinyStore(tmp_path / "store")
    pair = [store.checkpoint(f"sd15 {seed}", seed=seed) for seed in (1, 2)]
    budget = megabytes(size_of(pair[0]))
    cramped = Engine(EngineConfig(dtype="float32", compile="off", weights_budget_mb=budget))
    roomy = Engine(EngineConfig(dtype="float32", compile="off"))
    for index in range(6):
        request = image_request(f"r{index}", pair[index % 2])
        ours, theirs = (run_all(each, [request]).images(f"r{index}")[0].data for each in (cramped, roomy))
        assert ours == theirs
        assert cramped.info().resident == (pair[index % 2].name,)
    assert 0 < roomy.info().weights_budget_bytes < torch.cuda.get_device_properties(0).total_memory
    before = torch.cuda.memory_allocated()
    assert cramped.unload() > 0
    assert torch.cuda.memory_allocated() <= before - size_of(pair[0])
