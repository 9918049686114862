"""Adapters are read once, shared by digest, kept within a budget, and refused by name."""

from __future__ import annotations

import gc
import logging
import re
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_runtime.adapters.applied import applied
from gpu_runtime.adapters.bank import AdapterBank
from gpu_runtime.adapters.plan_shelf import MAX_PLANS, PlanShelf
from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.tiny.lora import make_tiny_lora
from gpu_runtime.tiny.pipelines import tiny_pipeline
from gpu_runtime.weights.family_facts import FAMILY_FACTS
from tests.gpu_runtime.lora_files import ROOM, lora_ref, write_lora

Networks = Mapping[str, Any]


def networks_of(family: str, *, seed: int = 0) -> Networks:
    parts = tiny_pipeline(family, seed=seed).components
    return {
        name: part
        for name, part in parts.items()
        if name in ("unet", "transformer") or name.startswith("text_encoder")
    }


@pytest.fixture(scope="module")
def networks() -> Networks:
    return networks_of("sd15")


def style(folder: Path, seed: int, family: str = "sd15") -> Path:
    return make_tiny_lora(family, folder / f"{family}-{seed}.safetensors", seed=seed)


def test_a_file_is_read_once_whatever_the_strength(networks: Networks, tmp_path: Path) -> None:
    bank, file = AdapterBank(ROOM), style(tmp_path, 1)
    (first,) = bank.uses([lora_ref(file, 0.5)], "sd15", networks)
    file.unlink()
    (second,) = bank.uses([lora_ref(file, -1.0)], "sd15", networks)
    assert second.lora is first.lora
    assert (first.scale, second.scale) == (0.5, -1.0)


def test_fine_tunes_share_an_adapter_and_other_architectures_do_not(tmp_path: Path) -> None:
    bank, file = AdapterBank(ROOM), style(tmp_path, 1)
    one = bank.lora(lora_ref(file), "sd15", networks_of("sd15"))
    other = bank.lora(lora_ref(file), "sd15", networks_of("sd15", seed=1))
    half = {name: part.to(torch.bfloat16) for name, part in networks_of("sd15").items()}
    assert other is one
    assert bank.lora(lora_ref(file), "sd15", half) is not one


def test_the_least_recently_used_leaves_first(networks: Networks, tmp_path: Path) -> None:
    files = [style(tmp_path, seed) for seed in range(3)]
    size = AdapterBank(ROOM).lora(lora_ref(files[0]), "sd15", networks).size_bytes
    bank = AdapterBank(2 * size * 4 // 3 + 4)
    first = bank.lora(lora_ref(files[0]), "sd15", networks)
    second = bank.lora(lora_ref(files[1]), "sd15", networks)
    assert bank.lora(lora_ref(files[0]), "sd15", networks) is first
    bank.lora(lora_ref(files[2]), "sd15", networks)
    assert bank.size_bytes == 2 * size
    assert bank.lora(lora_ref(files[0]), "sd15", networks) is first
    assert bank.lora(lora_ref(files[1]), "sd15", networks) is not second


def test_without_a_budget_the_latest_is_kept(networks: Networks, tmp_path: Path) -> None:
    bank, files = AdapterBank(0), [style(tmp_path, seed) for seed in range(2)]
    refs = [lora_ref(file) for file in files]
    both = bank.uses(refs, "sd15", networks)
    assert [use.lora.digest for use in both] == [ref.digest for ref in refs]
    assert bank.size_bytes == both[1].lora.size_bytes
    with applied(networks["unet"], "unet", [both]):
        pass


def test_stacked_tensors_are_kept_while_a_combination_lasts(networks: Networks, tmp_path: Path) -> None:
    bank = AdapterBank(ROOM)
    uses = bank.uses([lora_ref(style(tmp_path, seed)) for seed in range(2)], "sd15", networks)
    before = bank.size_bytes
    for _ in range(3):
        with applied(networks["unet"], "unet", [[uses[0]], [uses[1]]]):
            pass
    once = bank.size_bytes - before
    assert 0 < once <= sum(use.lora.size_bytes for use in uses)
    with applied(networks["unet"], "unet", [[uses[1]], [uses[0]]]):
        pass
    assert bank.size_bytes - before == 2 * once


@pytest.mark.parametrize("algorithm", ["difference", "kronecker", "low rank"])
def test_what_left_the_bank_is_in_no_plan(algorithm: str, networks: Networks, tmp_path: Path) -> None:
    """A request that ends is the last to hold an adapter that the bank has dropped."""
    bank, dropped = AdapterBank(0), []
    for turn in range(4):
        file = write_lora(tmp_path / str(turn), tensors_of(algorithm, networks["unet"]))
        uses = bank.uses([lora_ref(file)], "sd15", networks)
        with applied(networks["unet"], "unet", [uses]):
            pass
        dropped += [
            weakref.ref(tensor)
            for deltas in uses[0].lora.layers["unet"].values()
            for delta in deltas
            for tensor in delta.tensors()
        ]
    latest = uses[0].lora
    del uses
    gc.collect()
    alive = sum(tensor.nbytes for ref in dropped if (tensor := ref()) is not None)
    assert alive == latest.size_bytes
    assert latest.size_bytes < bank.size_bytes <= 2 * latest.size_bytes


def tensors_of(algorithm: str, unet: Any) -> dict[str, torch.Tensor]:
    """One layer's tensors as trainers write them."""
    layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    stem = f"lora_unet_{layer.replace('.', '_')}"
    out, inside = unet.get_submodule(layer).weight.shape
    match algorithm:
        case "difference":
            return {f"{stem}.diff": torch.ones(out, inside)}
        case "kronecker":
            return {f"{stem}.lokr_w1": torch.ones(2, 2), f"{stem}.lokr_w2": torch.ones(out // 2, inside // 2)}
    return {
        f"{stem}.lora_down.weight": torch.ones(16, inside),
        f"{stem}.lora_up.weight": torch.ones(out, 16),
    }


class Plan:
    size_bytes = 10

    def __init__(self, *adapters: str) -> None:
        self.adapters = frozenset(adapters)


def test_the_shelf_keeps_the_newest_plan_and_what_fits_beside_it() -> None:
    shelf, made = PlanShelf(20), []

    def make(name: str) -> Plan:
        made.append(name)
        return Plan()

    for name in "abacab":
        shelf.get(name, lambda name=name: make(name))
    assert made == ["a", "b", "c", "b"]
    assert shelf.size_bytes == 20
    small = PlanShelf(1)
    assert small.get("x", lambda: make("x")) is small.get("x", lambda: make("again"))


def test_the_shelf_drops_the_plans_of_an_adapter() -> None:
    shelf = PlanShelf(100)
    for name in ("a", "ab", "b"):
        shelf.get(name, lambda name=name: Plan(*name))
    shelf.drop("a")
    kept = Plan("b")
    assert shelf.size_bytes == 10
    assert shelf.get("ab", lambda: kept) is kept
    assert shelf.get("b", lambda: kept) is not kept


def test_the_shelf_holds_a_limited_number_of_plans_however_small() -> None:
    shelf = PlanShelf(2**40)
    for key in range(MAX_PLANS + 5):
        shelf.get(key, Plan)
    assert shelf.size_bytes == 10 * MAX_PLANS


@pytest.mark.parametrize(
    ("family", "own"),
    [
        ("sd15", "sdxl"),
        ("sdxl", "sd15"),
        ("sd15", "flux"),
        ("flux", "sd15"),
        ("sd3", "flux"),
        ("flux", "sd3"),
        ("sd2", "sd15"),
        ("sd15", "sd2"),
    ],
)
def test_an_adapter_of_another_family_is_refused(family: str, own: str, tmp_path: Path) -> None:
    bank, file = AdapterBank(ROOM), style(tmp_path, 1, own)
    titles = [re.escape(FAMILY_FACTS[each].title) for each in (own, family)]
    reason = "LoRA shiny is for {}, the checkpoint is {}$".format(*titles)
    with pytest.raises(UnsupportedCombination, match=reason):
        bank.lora(lora_ref(file, name="shiny"), family, networks_of(family))
    assert bank.size_bytes == 0


def test_a_control_adapter_is_refused_by_name(tmp_path: Path) -> None:
    """Its first layer takes the control image's latents as well."""
    networks = networks_of("flux")
    width = networks["transformer"].inner_dim
    tensors = {
        "img_in.lora_A.weight": torch.ones(2, 2 * networks["transformer"].config.in_channels),
        "img_in.lora_B.weight": torch.ones(width, 2),
    }
    for block in range(2):
        for layer in ("img_attn.qkv", "txt_attn.qkv"):
            tensors[f"double_blocks.{block}.{layer}.lora_A.weight"] = torch.ones(2, width)
            tensors[f"double_blocks.{block}.{layer}.lora_B.weight"] = torch.ones(3 * width, 2)
    file = write_lora(tmp_path / "l", tensors)
    with pytest.raises(UnsupportedCombination, match="LoRA a style takes a control image"):
        AdapterBank(ROOM).lora(lora_ref(file), "flux", networks)


def test_a_file_without_a_name_that_means_something_is_refused(networks: Networks, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "l", {"first.weight": torch.zeros(2, 2), "second.bias": torch.zeros(2)})
    with pytest.raises(UnsupportedCombination, match="LoRA a style is for another network"):
        AdapterBank(ROOM).lora(lora_ref(file), "sd15", networks)


def test_a_few_unknown_names_are_left_out_and_logged(
    networks: Networks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    width = networks["unet"].mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight.shape
    tensors = {
        f"{path}.lora_down.weight": torch.ones(2, width[1]),
        f"{path}.lora_up.weight": torch.ones(width[0], 2),
        "lora_te3_encoder_block_0.lora_down.weight": torch.ones(2, 2),
        "bundle_emb.mine.string_to_param.*": torch.ones(2, 2),
    }
    with caplog.at_level(logging.WARNING):
        found = AdapterBank(ROOM).lora(lora_ref(write_lora(tmp_path / "l", tensors)), "sd15", networks)
    assert {name: set(layers) for name, layers in found.layers.items()} == {
        "unet": {"mid_block.attentions.0.transformer_blocks.0.attn1.to_q"}
    }
    assert "2 names mean nothing here" in caplog.text
    assert "bundle_emb.mine" in caplog.text


def test_a_missing_or_damaged_file_is_named(networks: Networks, tmp_path: Path) -> None:
    bank, file = AdapterBank(ROOM), style(tmp_path, 1)
    with pytest.raises(CheckpointMissing, match=r"LoRA shiny: .*absent is not there"):
        bank.lora(lora_ref(tmp_path / "absent", name="shiny"), "sd15", networks)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(WeightsCorrupt):
        bank.lora(lora_ref(file), "sd15", networks)
    assert bank.size_bytes == 0
