"""Repositories in the diffusers layout: what is taken, what is refused, and that nothing in them is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from gpu_runtime.tiny.pipelines import RECIPES
from gpu_runtime.weights.importing import importer
from gpu_runtime.weights.importing.classes import find_class
from gpu_runtime.weights.importing.configs import SHIPPED, read_json
from gpu_runtime.weights.importing.folders import is_component
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.own_parts import OWN_PARTS
from gpu_runtime.weights.variants import variant_of
from tests.gpu_runtime.import_jobs import Workshop, digests

VAE_FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def change_json(file: Path, **changes: Any) -> None:
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(values))


def refusal(workshop: Workshop, source: Path, **options: Any) -> ImportRefused:
    """The refusal of an import that must leave the store empty."""
    with pytest.raises(ImportRefused) as refused:
        workshop.run(source, **options)
    assert workshop.contents() == {}
    return refused.value


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_tiny_family_comes_in(workshop: Workshop, recipe: str) -> None:
    source = workshop.tiny(recipe)
    index = read_json(source / "model_index.json")
    present = {name for name, entry in index.items() if is_component(entry) and entry[0]}

    imported = workshop.run(source)

    assert digests(imported).keys() == present
    assert workshop.store.verify(imported.digest) == []
    stored = read_json(imported.path / "model_index.json")
    named = {name: index[name] for name in present}
    # Those are parts of diffusers, whatever the pipeline's index calls the library.
    named |= {name: ["diffusers", entry[1]] for name, entry in named.items() if entry[1] in OWN_PARTS}
    assert {name: stored[name] for name in present} == named
    settings = {name: value for name, value in index.items() if not is_component(value)}
    settings = {name: value for name, value in settings.items() if value is not None}
    del settings["_diffusers_version"]
    assert {name: stored[name] for name in settings} == settings
    manifest = read_json(imported.path / "darkroom.json")
    assert manifest["components"] == digests(imported)
    assert (manifest["family"], manifest["variant"]) == (
        imported.identified.family,
        imported.identified.variant,
    )


def test_tensors_are_the_sources(workshop: Workshop) -> None:
    source = workshop.tiny("sdxl")

    imported = workshop.run(source)

    for name in ("unet", "vae"):
        expected = load_file(source / name / VAE_FILE)
        found = load_file(imported.path / name / VAE_FILE)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_same_vae_out_of_old_and_new_files_is_one_component(workshop: Workshop) -> None:
    """Early releases named the attention otherwise, and were pickles."""
    source = workshop.tiny("sd15")
    first = workshop.run(source)
    folder = source / "vae"
    tensors = load_file(folder / VAE_FILE)
    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, old in old_names.items():
        for name in [name for name in tensors if f".attentions.0.{new}." in name]:
            tensors[name.replace(new, old)] = tensors.pop(name)
    (folder / VAE_FILE).unlink()
    torch.save(tensors, folder / "diffusion_pytorch_model.bin")
    change_json(folder / "config.json", _name_or_path="./vae", _diffusers_version="0.6.0")

    second = workshop.run(source)

    assert digests(second)["vae"] == digests(first)["vae"]
    assert second.digest == first.digest


def test_same_text_encoder_under_old_names_is_one_component(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    first = workshop.run(source)
    file = source / "text_encoder" / "model.safetensors"
    plain = {name.removeprefix("text_model."): tensor for name, tensor in load_file(file).items()}
    save_file(plain, file, {"format": "pt"})
    change_json(source / "text_encoder" / "config.json", torch_dtype="float16", transformers_version="4.21.0")

    assert digests(workshop.run(source)) == digests(first)


def test_shards_are_joined(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    whole = workshop.run(source)
    folder = source / "unet"
    tensors = load_file(folder / VAE_FILE)
    names = sorted(tensors)
    parts = {"a-00001-of-00002.safetensors": names[::2], "a-00002-of-00002.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: tensors[name] for name in own}, folder / f"diffusion_pytorch_model-{file[2:]}")
    weight_map = {name: f"diffusion_pytorch_model-{file[2:]}" for file, own in parts.items() for name in own}
    (folder / f"{VAE_FILE}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / VAE_FILE).unlink()

    assert workshop.run(source).digest == whole.digest


def test_shard_that_is_not_there_is_named(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    folder = source / "vae"
    (folder / VAE_FILE).rename(folder / "diffusion_pytorch_model-00001-of-00002.safetensors")
    weight_map = {"encoder.conv_in.bias": "diffusion_pytorch_model-00002-of-00002.safetensors"}
    (folder / f"{VAE_FILE}.index.json").write_text(json.dumps({"weight_map": weight_map}))

    found = refusal(workshop, source)

    assert found.code == RefusalCode.WEIGHTS_CORRUPT


@pytest.mark.parametrize(("precision", "taken"), [("keep", "F32"), ("float16", "F16"), ("bfloat16", "BF16")])
def test_one_variant_is_taken_by_the_wish_for_precision(
    workshop: Workshop, precision: str, taken: str
) -> None:
    source = workshop.tiny("sd15")
    folder = source / "vae"
    half = {name: tensor.half() for name, tensor in load_file(folder / VAE_FILE).items()}
    save_file(half, folder / "diffusion_pytorch_model.fp16.safetensors")
    torch.save({"wrong": torch.zeros(1)}, folder / "diffusion_pytorch_model.bin")
    (folder / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"not read")

    imported = workshop.run(source, precision=precision)

    assert next(each.dtype for each in imported.components if each.name == "vae") == taken


@pytest.mark.parametrize(("precision", "taken"), [("keep", "fp16"), ("float16", "fp16"), ("bfloat16", "")])
def test_every_component_comes_in_the_variant_that_all_have(
    workshop: Workshop, precision: str, taken: str
) -> None:
    source = workshop.tiny("sd15")
    for name in ("diffusion_pytorch_model", "model"):
        for file in source.glob(f"*/{name}.safetensors"):
            variant = {key: tensor.half() * 2 for key, tensor in load_file(file).items()}
            save_file(variant, file.with_name(f"{name}.fp16.safetensors"))
    only = workshop.root / "only"
    shutil.copytree(source, only)
    for file in only.rglob("*.safetensors"):
        if variant_of(file.name) != taken:
            file.unlink()

    both = workshop.run(source, precision=precision)

    assert both.digest == workshop.run(only, precision=precision).digest


def test_only_a_half_variant_is_enough(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    folder = source / "vae"
    (folder / VAE_FILE).rename(folder / "diffusion_pytorch_model.fp16.safetensors")

    assert "vae" in digests(workshop.run(source))


def test_safety_checker_is_left_out(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    plain = workshop.run(source)
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    change_json(source / "model_index.json", safety_checker=checker, requires_safety_checker=True)

    assert workshop.run(source).digest == plain.digest


def test_released_clip_tokenizer_becomes_the_shipped_one(workshop: Workshop) -> None:
    source = workshop.tiny("sdxl")

    imported = workshop.run(source)

    shipped = (SHIPPED / "tokenizer" / "vocab.json").read_bytes()
    pads = {}
    for name in ("tokenizer", "tokenizer_2"):
        assert (imported.path / name / "vocab.json").read_bytes() == shipped
        pads[name] = read_json(imported.path / name / "tokenizer_config.json")["pad_token"]
    assert pads == {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}


def test_tokenizer_with_more_words_keeps_its_files(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    (source / "tokenizer" / "added_tokens.json").write_text(json.dumps({"<cat-toy>": 49408}))

    imported = workshop.run(source)

    assert read_json(imported.path / "tokenizer" / "added_tokens.json") == {"<cat-toy>": 49408}


def test_code_beside_the_weights_is_not_taken(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    source = workshop.tiny("sd15")
    for folder in (source, source / "unet", source / "tokenizer"):
        (folder / "modeling.py").write_text("print('ran')")
        (folder / "unet.py").write_text("print('ran')")

    imported = workshop.run(source)

    assert not any(name.endswith(".py") for name in workshop.contents())
    assert imported.path.is_dir()
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry", "needed"),
    [
        (["unet", "MyUNet"], "unet.MyUNet"),
        (["os", "PathLike"], "os.PathLike"),
        (["diffusers", "load_image"], "diffusers.load_image"),
        (["transformers_modules.evil", "Model"], "transformers_modules.evil.Model"),
    ],
)
def test_class_of_another_library_is_refused(workshop: Workshop, entry: list[str], needed: str) -> None:
    source = workshop.tiny("sd15")
    change_json(source / "model_index.json", unet=entry)

    found = refusal(workshop, source)

    assert found.code in (RefusalCode.UNSUPPORTED_MODEL, RefusalCode.NOT_RECOGNISED)
    with pytest.raises(ImportRefused, match=f"it needs {needed}, which is no class of diffusers"):
        find_class(*entry)


def test_tokenizer_that_needs_code_is_refused(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    (source / "tokenizer" / "added_tokens.json").write_text("{}")
    change_json(source / "tokenizer" / "tokenizer_config.json", auto_map={"AutoTokenizer": "tokenizer.Mine"})

    with pytest.raises(ImportRefused, match="tokenizer needs code that comes with the model") as refused:
        workshop.run(source)

    assert refused.value.code == RefusalCode.UNSUPPORTED_MODEL
    assert workshop.store.list_checkpoints() == []


def test_folder_that_the_index_names_must_be_there(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    (source / "vae").rename(source / "elsewhere")

    found = refusal(workshop, source)

    assert found.code in (RefusalCode.MISSING_COMPONENT, RefusalCode.WEIGHTS_CORRUPT)
    assert "vae" in found.message


def test_component_outside_of_the_folder_is_refused(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    index = read_json(source / "model_index.json")
    index["../sd15/vae"] = index.pop("vae")
    (source / "model_index.json").write_text(json.dumps(index))

    refusal(workshop, source)


def test_quantised_network_is_refused(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    change_json(source / "unet" / "config.json", quantization_config={"quant_method": "bitsandbytes"})

    found = refusal(workshop, source)

    assert found.code == RefusalCode.UNSUPPORTED_MODEL
    assert found.message.startswith("unet is quantised")


@pytest.mark.parametrize("recipe", ["sd15", "pixart"])
def test_how_to_run_a_network_is_not_taken_from_its_configuration(workshop: Workshop, recipe: str) -> None:
    plain, source = workshop.tiny(recipe), workshop.root / "odd"
    shutil.copytree(plain, source)
    choices = {"attn_implementation": "someone/kernel", "_attn_implementation": "flash_attention_2"}
    change_json(source / "text_encoder" / "config.json", **choices, experts_implementation="grouped_mm")

    odd = digests(workshop.run(source))

    assert odd["text_encoder"] == digests(workshop.run(plain))["text_encoder"]


def test_quantised_part_of_a_network_is_refused(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    change_json(source / "text_encoder" / "config.json", text_config={"quantization_config": {"bits": 4}})

    found = refusal(workshop, source)

    assert found.code == RefusalCode.UNSUPPORTED_MODEL
    assert found.message.startswith("text_encoder is quantised")


def test_adapter_beside_the_weights_is_refused(workshop: Workshop) -> None:
    source = workshop.tiny("pixart")
    (source / "text_encoder" / "adapter_config.json").write_text("{}")

    found = refusal(workshop, source)

    assert found.code == RefusalCode.UNSUPPORTED_MODEL
    assert found.message.startswith("text_encoder has an adapter")


def test_missing_python_package_is_a_refusal(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ImportError("flash_attn seems to be not installed")

    monkeypatch.setattr(importer, "import_folder", refuse)

    found = refusal(workshop, workshop.tiny("sd15"))

    assert found.code == RefusalCode.UNSUPPORTED_MODEL
    assert "flash_attn seems to be not installed" in found.message


def test_configuration_of_another_width_is_corrupt(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    change_json(source / "vae" / "config.json", block_out_channels=[8, 16, 32, 64])

    found = refusal(workshop, source)

    assert found.code == RefusalCode.WEIGHTS_CORRUPT
    assert found.message.startswith("vae: AutoencoderKL: ")


def test_configuration_that_the_class_does_not_accept_is_corrupt(workshop: Workshop) -> None:
    source = workshop.tiny("sd15")
    change_json(source / "vae" / "config.json", down_block_types=["NoSuchBlock"] * 4)

    found = refusal(workshop, source)

    assert found.code == RefusalCode.WEIGHTS_CORRUPT


def test_vae_folder_is_one_component(workshop: Workshop) -> None:
    source = workshop.tiny("sdxl")
    whole = workshop.run(source)

    imported = workshop.run(source / "vae")

    assert imported.identified.kind == "vae"
    assert imported.identified.family == "sdxl"
    assert imported.digest == digests(whole)["vae"]
    assert imported.path == workshop.store.component(imported.digest)
    assert (
        AutoencoderKL.from_pretrained(imported.path, local_files_only=True).config.scaling_factor == 0.13025
    )


def test_progress_ends_with_all_bytes(workshop: Workshop) -> None:
    workshop.run(workshop.tiny("sd15"))

    assert workshop.progress[0] == ("verifying", 0, 0)
    phase, done, total = workshop.progress[-1]
    assert (phase, done) == ("converting", total)
    assert total > 3_000_000
    assert [event[1] for event in workshop.progress] == sorted(event[1] for event in workshop.progress)
