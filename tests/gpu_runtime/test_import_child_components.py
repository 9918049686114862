"""What is imported by itself: autoencoders, ControlNets, text encoders, adapters, embeddings, upscalers."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from gpu_runtime.tiny.original_layout import to_original
from gpu_runtime.weights.importing.configs import read_json
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from tests.gpu_runtime.import_jobs import Workshop, digests


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def controlnet_of(workshop: Workshop, recipe: str) -> ControlNetModel:
    """A ControlNet of a tiny UNet, with numbers where a fresh one has zeros."""
    unet = UNet2DConditionModel.from_pretrained(workshop.tiny(recipe) / "unet", local_files_only=True)
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 12, 16))
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return network


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
def test_vae_file_is_the_repositorys_component(workshop: Workshop, family: str) -> None:
    whole = workshop.run(workshop.tiny(family))
    tensors = load_file(workshop.tiny(family) / "vae" / "diffusion_pytorch_model.safetensors")
    named = {"sd15": "sd15-vae", "sdxl": "sdxl-vae", "sd3": "sd3-vae", "flux": "flux-ae"}[family]
    original = workshop.root / f"{named}.safetensors"
    save_file(to_original(family, {"vae": tensors}, is_prefixed=False), original)
    by_diffusers = workshop.root / f"{named}-diffusers.safetensors"
    save_file(tensors, by_diffusers)

    assert workshop.run(original).digest == digests(whole)["vae"]
    assert workshop.run(by_diffusers).digest == digests(whole)["vae"]


@pytest.mark.parametrize("recipe", ["sd15", "sd2-base", "sdxl"])
def test_controlnet_is_one_component_in_every_layout(workshop: Workshop, recipe: str) -> None:
    family = recipe.partition("-")[0]
    network = controlnet_of(workshop, recipe)
    folder = workshop.root / "canny"
    network.save_pretrained(folder)
    by_diffusers = workshop.root / "canny.safetensors"
    save_file(network.state_dict(), by_diffusers)

    from_folder = workshop.run(folder)

    assert from_folder.identified.kind == "controlnet"
    assert (from_folder.identified.family, from_folder.identified.variant) == (family, "canny")
    weights = "diffusion_pytorch_model.safetensors"
    expected = (from_folder.path / weights).read_bytes()
    found = workshop.run(by_diffusers)
    assert (found.path / weights).read_bytes() == expected
    if family != "sdxl":  # the original layout was never used for it
        original = workshop.root / "canny.pth"
        torch.save(to_original(family, {"controlnet": network.state_dict()}), original)
        found = workshop.run(original)
        assert (found.path / weights).read_bytes() == expected
    assert (
        ControlNetModel.from_pretrained(found.path, local_files_only=True).config.conditioning_channels == 3
    )


@pytest.mark.parametrize(("recipe", "part"), [("sd15", "text_encoder"), ("sdxl", "text_encoder_2")])
def test_text_encoder_folder_is_the_repositorys_component(workshop: Workshop, recipe: str, part: str) -> None:
    whole = workshop.run(workshop.tiny(recipe))

    imported = workshop.run(workshop.tiny(recipe) / part)

    assert imported.identified.kind == "text_encoder"
    assert imported.digest == digests(whole)[part]


def test_t5_file_is_the_repositorys_component(workshop: Workshop) -> None:
    whole = workshop.run(workshop.tiny("flux"))
    file = workshop.root / "t5xxl.safetensors"
    tensors = load_file(workshop.tiny("flux") / "text_encoder_2" / "model.safetensors")
    save_file(tensors | {"encoder.embed_tokens.weight": tensors["shared.weight"].clone()}, file)

    assert workshop.run(file).digest == digests(whole)["text_encoder_2"]


def kohya_lora() -> dict[str, torch.Tensor]:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    return {
        f"{name}.lora_down.weight": torch.ones(4, 8),
        f"{name}.lora_up.weight": torch.full((8, 4), 0.5),
        f"{name}.alpha": torch.tensor(4.0),
    }


def test_lora_is_one_file_with_its_facts(workshop: Workshop) -> None:
    file = workshop.root / "style.safetensors"
    save_file(kohya_lora(), file, {"ss_output_name": "Style", "modelspec.trigger_phrase": "sty1e"})

    imported = workshop.run(file, family_hint="")

    assert imported.identified.kind == "lora"
    assert imported.path == workshop.store.component(imported.digest)
    stored = load_file(imported.path / "weights.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in kohya_lora().items())
    facts = read_json(imported.path / "facts.json")
    assert facts["kind"] == "lora"
    assert facts["family"] == imported.identified.family
    assert facts["title"] == "Style"
    assert facts["trigger_words"] == ["sty1e"]
    assert imported.to_json()["trigger_words"] == ["sty1e"]


def test_embedding_of_the_first_tools_comes_in(workshop: Workshop) -> None:
    file = workshop.root / "cat-toy.pt"
    vectors = torch.randn(2, 768)
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "x"}, file)

    imported = workshop.run(file)

    assert imported.identified.kind == "embedding"
    stored = load_file(imported.path / "weights.safetensors")
    assert torch.equal(stored["string_to_param.*"], vectors)


def test_upscaler_pickle_is_unwrapped(workshop: Workshop) -> None:
    tensors = {}
    for number in range(0, 5, 2):
        width = 3 if number == 0 else 16
        tensors[f"body.{number}.weight"] = torch.randn(16 if number < 4 else 48, width, 3, 3)
        tensors[f"body.{number}.bias"] = torch.randn(16 if number < 4 else 48)
    for number in (1, 3):
        tensors[f"body.{number}.weight"] = torch.rand(16)
    file = workshop.root / "compact.pth"
    torch.save({"params": tensors}, file)

    imported = workshop.run(file)

    assert imported.identified.kind == "upscaler"
    stored = load_file(imported.path / "weights.safetensors")
    assert stored.keys() == tensors.keys()


def test_pickle_with_code_has_no_effect(workshop: Workshop) -> None:
    marker = workshop.root / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(marker),)

    file = workshop.root / "evil.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Evil()}, file)

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.UNSAFE_FILE
    assert not marker.exists()
    assert workshop.contents() == {}


def test_callbacks_that_are_only_mentioned_do_no_harm(workshop: Workshop) -> None:
    """The first releases of SD 1 name a Lightning class as a key; it becomes a stand-in."""
    source = workshop.single_file("sd15", "sd15")
    names = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(names)
    mentioned = type("ModelCheckpoint", (), {"__module__": names})
    module.ModelCheckpoint = mentioned  # type: ignore[attr-defined]  # made for this test
    file = workshop.root / "first.ckpt"
    parents = [types.ModuleType("pytorch_lightning"), types.ModuleType("pytorch_lightning.callbacks")]
    with pytest.MonkeyPatch.context() as patch:
        for each in (*parents, module):
            patch.setitem(sys.modules, each.__name__, each)
        torch.save({"state_dict": load_file(source), "callbacks": {mentioned: {"best": 0.5}}}, file)

    assert workshop.run(file).digest == workshop.run(source).digest


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"<!DOCTYPE html><html><body>Sign in</body></html>"),
        ("m.ckpt", b"\x89PNG\r\n\x1a\n" * 20),
    ],
)
def test_web_page_is_no_model(workshop: Workshop, name: str, content: bytes) -> None:
    file = workshop.root / name
    file.write_bytes(content)

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.NOT_WEIGHTS
    assert workshop.contents() == {}


def test_model_of_another_format_is_not_recognised(workshop: Workshop) -> None:
    file = workshop.root / "model.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(64))

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.NOT_RECOGNISED


def test_unknown_tensors_are_not_recognised(workshop: Workshop) -> None:
    file = workshop.root / "mystery.safetensors"
    save_file({"some.layer": torch.zeros(3)}, file)

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.NOT_RECOGNISED


def test_hint_that_contradicts_the_file_is_refused(workshop: Workshop) -> None:
    file = workshop.root / "style.safetensors"
    save_file(kohya_lora(), file)

    with pytest.raises(ImportRefused, match="this is a lora, not a vae") as refused:
        workshop.run(file, kind_hint="vae")

    assert refused.value.code == RefusalCode.UNSUPPORTED_MODEL
    assert workshop.contents() == {}
