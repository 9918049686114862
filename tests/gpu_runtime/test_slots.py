"""A slot's module equals the one that the libraries load, whatever was in the slot before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpu_runtime.errors import UnsupportedCombination, WeightsCorrupt
from gpu_runtime.weights.loader import NETWORKS, component_classes
from gpu_runtime.weights.modules import IRRELEVANT_SETTINGS, architecture_of
from gpu_runtime.weights.slots import Slot, SlotPool
from gpu_runtime.weights.staging import Staging, read_config
from tests.gpu_runtime.folder_source import load_network
from tests.gpu_runtime.tiny_folders import tiny_folder

CPU = torch.device("cpu")

EVERY_NETWORK = [
    ("sd15", "text_encoder"),
    ("sd15", "unet"),
    ("sd15", "vae"),
    ("sdxl", "text_encoder_2"),
    ("sdxl", "unet"),
    ("sd3", "text_encoder"),
    ("sd3", "text_encoder_3"),
    ("sd3", "transformer"),
    ("flux", "text_encoder_2"),
    ("flux", "transformer"),
    ("flux", "vae"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny checkpoint of each family."""
    root = tmp_path_factory.mktemp("families")
    return {family: tiny_folder(family, root / family, seed=3) for family in ("sd15", "sdxl", "sd3", "flux")}


def network_class(folder: Path, name: str) -> Any:
    return NETWORKS[component_classes(folder)[name]]


def filled(folder: Path, name: str, dtype: torch.dtype = torch.float32, pool: SlotPool | None = None) -> Slot:
    """A slot with the component in it."""
    component = folder / name
    config = read_config(component)
    known = network_class(folder, name)
    slot = (pool or SlotPool()).take(architecture_of(known, config, dtype, CPU), known, config)
    slot.fill(Staging(CPU, budget_bytes=2**30).get("key", component, slot).tensors)
    return slot


def everything(module: Any) -> dict[str, Tensor]:
    """All parameters and buffers, those included that no file carries."""
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}


def assert_same(ours: Any, theirs: Any) -> None:
    left, right = everything(ours), everything(theirs)
    assert left.keys() == right.keys()
    for name, tensor in right.items():
        assert left[name].dtype == tensor.dtype, name
        assert torch.equal(left[name], tensor), name


@pytest.fixture(params=[True, False], ids=["copying", "taking over"])
def pool(request: pytest.FixtureRequest) -> SlotPool:
    """As on a device with memory of its own, and as on the CPU."""
    return SlotPool(is_copying=request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("family", "name"), EVERY_NETWORK)
def test_module_equals_the_one_that_the_library_loads(
    family: str, name: str, dtype: torch.dtype, tiny: dict[str, Path], pool: SlotPool
) -> None:
    theirs = load_network(tiny[family], name, dtype=dtype)
    ours = filled(tiny[family], name, dtype, pool).module
    assert_same(ours, theirs)
    assert not ours.training
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    assert settings_of(ours) == settings_of(theirs)


def settings_of(module: Any) -> dict[str, Any]:
    """The configuration that families read, without where it came from."""
    config = module.config
    values = dict(config) if isinstance(config, dict) else config.to_dict()
    return {name: value for name, value in values.items() if name not in IRRELEVANT_SETTINGS}


@pytest.mark.parametrize(("family", "name"), [("sd15", "text_encoder"), ("sd3", "text_encoder")])
def test_text_encoder_may_have_its_inner_name_in_front_or_not(
    family: str, name: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    for way, rename in (("with", _with_inner_name), ("without", _without_inner_name)):
        folder = tmp_path / way
        shutil.copytree(tiny[family], folder)
        file = folder / name / "model.safetensors"
        save_file({rename(key): value for key, value in load_file(file).items()}, file)
        assert_same(filled(folder, name).module, filled(tiny[family], name).module)


def _with_inner_name(key: str) -> str:
    return key if key.startswith(("text_model.", "text_projection.")) else f"text_model.{key}"


def _without_inner_name(key: str) -> str:
    return key.removeprefix("text_model.")


def test_attention_of_old_autoencoders_is_renamed(tiny: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(tiny["sd15"], folder)
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(file)
    for new, old in old_names.items():
        tensors = {key.replace(f".{new}.", f".{old}."): value for key, value in tensors.items()}
    assert tensors.keys() != load_file(file).keys()
    save_file(tensors, file)
    assert_same(filled(folder, "vae").module, filled(tiny["sd15"], "vae").module)


def test_tied_embedding_is_one_tensor_and_may_come_under_either_name(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "other-name"
    shutil.copytree(tiny["flux"], folder)
    file = folder / "text_encoder_2" / "model.safetensors"
    tensors = load_file(file)
    tensors["encoder.embed_tokens.weight"] = tensors.pop("shared.weight")
    save_file(tensors, file)
    slot = filled(folder, "text_encoder_2")
    assert slot.module.encoder.embed_tokens.weight is slot.module.shared.weight
    assert_same(slot.module, filled(tiny["flux"], "text_encoder_2").module)
    assert slot.size_bytes == sum(p.numel() * 4 for p in slot.module.parameters())


def test_second_component_goes_into_the_same_tensors(
    tiny: dict[str, Path], tmp_path: Path, pool: SlotPool
) -> None:
    other = tiny_folder("sd15", tmp_path / "other", seed=8)
    slot = filled(tiny["sd15"], "unet", pool=pool)
    before = {name: id(parameter) for name, parameter in slot.module.named_parameters()}
    slot.fill(Staging(CPU, budget_bytes=2**30).get("other", other / "unet", slot).tensors)
    assert {name: id(parameter) for name, parameter in slot.module.named_parameters()} == before
    assert_same(slot.module, filled(other, "unet").module)


def test_staged_memory_is_taken_over_where_it_is_the_devices(tiny: dict[str, Path]) -> None:
    slot = filled(tiny["sd15"], "unet", pool=SlotPool(is_copying=False))
    staged = Staging(CPU, budget_bytes=2**30).get("key", tiny["sd15"] / "unet", slot)
    slot.fill(staged.tensors)
    assert all(slot.tensors[name].data_ptr() == each.data_ptr() for name, each in staged.tensors.items())


def test_second_component_is_copied_into_the_same_memory(tiny: dict[str, Path], tmp_path: Path) -> None:
    other = tiny_folder("sd15", tmp_path / "other", seed=8)
    slot = filled(tiny["sd15"], "unet")
    before = {name: (id(p), p.data_ptr()) for name, p in slot.module.named_parameters()}
    slot.fill(Staging(CPU, budget_bytes=2**30).get("other", other / "unet", slot).tensors)
    assert {name: (id(p), p.data_ptr()) for name, p in slot.module.named_parameters()} == before
    assert_same(slot.module, filled(other, "unet").module)


def test_component_that_does_not_fit_changes_nothing(tiny: dict[str, Path], pool: SlotPool) -> None:
    slot = filled(tiny["sd15"], "unet", pool=pool)
    before = {name: tensor.clone() for name, tensor in slot.tensors.items()}
    last = list(before)[-1]
    staged = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    for broken in (
        {name: tensor for name, tensor in staged.items() if name != last},
        {**staged, last: torch.zeros(3, 1, 4, 1, 5)},
    ):
        with pytest.raises(WeightsCorrupt, match=last):
            slot.fill(broken)
        assert all(torch.equal(slot.tensors[name], before[name]) for name in before)


def test_emptied_slot_holds_no_memory_and_is_reused_for_its_architecture(
    tiny: dict[str, Path], pool: SlotPool
) -> None:
    slot = filled(tiny["sd15"], "unet", pool=pool)
    first = slot.module
    pool.give_back(slot)
    assert not slot.has_memory
    assert sum(tensor.untyped_storage().nbytes() for tensor in slot.tensors.values()) == 0
    with pytest.raises(RuntimeError):
        first(torch.zeros(1, 4, 8, 8), 0, encoder_hidden_states=torch.zeros(1, 77, 32))
    assert filled(tiny["sdxl"], "unet", pool=pool).module is not first
    again = filled(tiny["sd15"], "unet", pool=pool)
    assert again.module is first
    assert pool.built == 2
    assert_same(again.module, filled(tiny["sd15"], "unet").module)


def test_settings_that_the_file_leaves_out_count_as_the_defaults(tiny: dict[str, Path]) -> None:
    config = read_config(tiny["sd15"] / "unet")
    known = network_class(tiny["sd15"], "unet")
    short = {name: value for name, value in config.items() if name not in ("act_fn", "_diffusers_version")}
    one, other = (architecture_of(known, each, torch.float32, CPU) for each in (config, short))
    assert one == other
    assert one != architecture_of(known, {**config, "act_fn": "gelu"}, torch.float32, CPU)
    assert one != architecture_of(known, config, torch.bfloat16, CPU)


def test_new_modules_are_prepared_once(tiny: dict[str, Path]) -> None:
    prepared: list[Any] = []
    pool = SlotPool(prepare=prepared.append)
    slot = filled(tiny["sd15"], "unet", pool=pool)
    pool.give_back(slot)
    filled(tiny["sd15"], "unet", pool=pool)
    assert prepared == [slot.module]


def test_configuration_does_not_choose_how_a_network_runs(tiny: dict[str, Path]) -> None:
    folder = tiny["sd15"]
    known, config = network_class(folder, "text_encoder"), read_config(folder / "text_encoder")
    chosen = config | {"_attn_implementation": "someone/kernel", "attn_implementation": "flash_attention_2"}
    architecture = architecture_of(known, chosen, torch.float32, CPU)
    assert architecture == architecture_of(known, config, torch.float32, CPU)
    module = SlotPool().take(architecture, known, chosen).module
    plain = SlotPool().take(architecture, known, config).module
    assert module.config._attn_implementation == plain.config._attn_implementation


def test_quantised_network_is_refused(tiny: dict[str, Path]) -> None:
    config = read_config(tiny["sd15"] / "unet") | {"quantization_config": {"quant_method": "gguf"}}
    with pytest.raises(UnsupportedCombination, match="UNet2DConditionModel is quantised"):
        architecture_of(network_class(tiny["sd15"], "unet"), config, torch.float32, CPU)


def test_convolutions_may_be_kept_in_channels_last_order(tiny: dict[str, Path]) -> None:
    plain = filled(tiny["sd15"], "unet").module
    pool = SlotPool(is_channels_last=True)
    for _ in range(2):
        slot = filled(tiny["sd15"], "unet", pool=pool)
        weight = slot.module.down_blocks[0].resnets[0].conv1.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert not weight.is_contiguous()
        assert_same(slot.module, plain)
        pool.give_back(slot)
    sample, text = torch.randn(2, 4, 8, 8), torch.randn(2, 7, plain.config.cross_attention_dim)
    slot = filled(tiny["sd15"], "unet", pool=pool)
    with torch.inference_mode():
        ours, theirs = (each(sample, 3, text).sample for each in (slot.module, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
