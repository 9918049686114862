"""Files and folders as operators bring them: what is recognised, and what is said about the rest."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gpu_runtime.errors import NotRecognised, NotWeights, RuntimeFault, WeightsCorrupt
from gpu_runtime.tiny.pipelines import make_tiny
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.rules import apply
from gpu_runtime.weights.identification.said import trigger_words
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.importing.sources import open_weights
from gpu_runtime.weights.taxonomy import FileFormat, ModelKind
from gpu_runtime.weights.tensor_facts import TensorFacts
from tests.checkpoints.samples import load_sample, sample_names, write_sparse, write_sparse_sample
from tests.checkpoints.sparse_pickles import write_sparse_pickle

SAMPLES = sample_names()

NOT_WEIGHTS = {
    "page.safetensors": (b"<!DOCTYPE html><html><head><title>Sign in</title>", "a web page, not weights"),
    "page.ckpt": (b"\n\n  <html lang=en>", "a web page, not weights"),
    "error.safetensors": (b'{"error": "Invalid credentials"}', "a JSON document, not weights"),
    "error.bin": (b'{"error": "Invalid credentials"}', "a JSON document, not weights"),
    "pointer.safetensors": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4265380512\n",
        "a Git LFS pointer",
    ),
    "notes.pt": ("Entschuldigung, später.\n".encode(), "a text file, not weights"),
    "notes.txt": (b"not a model\r\n" * 400, "a text file, not weights"),
    "image.safetensors": (b"\x89PNG\r\n\x1a\n" + bytes(64), "a PNG image"),
    "image.bin": (b"\xff\xd8\xff\xe0" + bytes(64), "a JPEG image"),
    "image.ckpt": (b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(64), "a WebP image"),
    "model.tar": (bytes(257) + b"ustar\x0000" + bytes(300), "a tar archive"),
    "model.safetensors.gz": (b"\x1f\x8b\x08\x00" + bytes(64), "a gzip archive"),
    "model.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(64), "a 7-Zip archive"),
    "paper.pdf": (b"%PDF-1.7\n" + bytes(64), "a PDF document"),
    "program.bin": (b"\x7fELF\x02\x01\x01" + bytes(64), "a program"),
    "wide.onnx": (b"<html>", "a web page, not weights"),
}
NOT_KNOWN = {
    "model.gguf": (b"GGUF\x03\x00\x00\x00" + bytes(64), "a GGUF file"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
    "noise.dat": (bytes(range(128, 256)) * 8, "no file of weights that is known here"),
}
"""Weights, or what may be some."""


def written(folder: Path, name: str, data: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def contents(tensors: Mapping[str, tuple[int, ...]], file: str = "file.safetensors") -> Contents:
    facts = {name: TensorFacts("F32", shape) for name, shape in tensors.items()}
    return Contents(path=Path("weights") / file, tensors=facts, size_bytes=1000)


@pytest.mark.parametrize("name", NOT_WEIGHTS)
def test_what_is_no_weights_is_named(name: str, tmp_path: Path) -> None:
    data, says = NOT_WEIGHTS[name]
    with pytest.raises(NotWeights) as caught:
        identify(written(tmp_path, name, data))
    assert says in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", NOT_KNOWN)
def test_weights_of_other_formats_are_named(name: str, tmp_path: Path) -> None:
    data, says = NOT_KNOWN[name]
    with pytest.raises(NotRecognised) as caught:
        identify(written(tmp_path, name, data))
    assert caught.type is NotRecognised
    assert f"{name} is {says}" in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotRecognised, match="gone is neither a file nor a folder"):
        identify(tmp_path / "gone")


def test_content_decides_whatever_the_suffix_says(tmp_path: Path) -> None:
    sample = load_sample("vae-sdxl")
    file = write_sparse(tmp_path / "sdxl_vae.ckpt", sample.tensors)
    assert identify(file).kind is ModelKind.VAE
    torch.save({"emb_params": torch.zeros(2, 768)}, tmp_path / "style.safetensors")
    assert identify(tmp_path / "style.safetensors").kind is ModelKind.EMBEDDING


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_header_whose_length_reads_like_a_pickle_is_a_header(length: int, tmp_path: Path) -> None:
    """The first two bytes of the file are then those of a pickle of protocol 2 to 5."""
    file = tmp_path / "style.safetensors"
    save_file({"emb_params": torch.zeros(2, 768)}, file)
    data = file.read_bytes()
    before = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + before] + b" " * (length - before)
    file.write_bytes(length.to_bytes(8, "little") + header + data[8 + before :])
    assert file.read_bytes()[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    assert identify(file).kind is ModelKind.EMBEDDING
    assert open_weights(file)["emb_params"].shape == (2, 768)


def test_pickled_checkpoint_is_identified_like_a_safe_one(tmp_path: Path) -> None:
    names = load_sample("controlnet-sd15-ldm").tensors
    tiny = {name: torch.zeros([1] * len(facts.shape)) for name, facts in names.items()}
    torch.save({"state_dict": tiny, "global_step": 9}, tmp_path / "control_canny.pth")
    found = identify(tmp_path / "control_canny.pth")
    assert (found.kind, found.family, found.variant) == (ModelKind.CONTROLNET, "sd15", "canny")


def test_embedding_of_the_web_ui_is_identified(tmp_path: Path) -> None:
    embedding = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": torch.zeros(4, 1024)},
        "name": "papercut",
        "step": 500,
    }
    torch.save(embedding, tmp_path / "papercut.pt")
    found = identify(tmp_path / "papercut.pt")
    assert (found.kind, found.family) == (ModelKind.EMBEDDING, "sd2")
    assert found.details == {"vectors": 4, "width": 1024, "token": "papercut"}


def test_upscaler_with_averaged_weights_is_identified(tmp_path: Path) -> None:
    tensors = {
        name: torch.zeros(facts.shape) for name, facts in load_sample("upscaler-compact-x2").tensors.items()
    }
    torch.save({"params_ema": tensors, "params": {}}, tmp_path / "2x.pth")
    found = identify(tmp_path / "2x.pth")
    assert (found.kind, found.variant, found.details["scale"]) == (ModelKind.UPSCALER, "srvgg", 2)


def test_identification_needs_no_torch() -> None:
    code = (
        "import sys; import gpu_runtime.weights.identify, gpu_runtime.weights.pickle_scan;"
        "print(sorted({'torch', 'numpy', 'diffusers', 'transformers', 'safetensors'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def read_bytes() -> int:
    """What this process has read so far, from files and pipes, by any call."""
    facts = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return int(facts["rchar"])


def test_twelve_gigabytes_are_identified_without_reading_them(tmp_path: Path) -> None:
    file = write_sparse_sample("flux-dev", tmp_path)
    size = file.stat().st_size
    assert size > 12 * 2**30
    assert file.stat().st_blocks * 512 < 2**20
    before = read_bytes()
    found = identify(file)
    assert read_bytes() - before < 2**20
    assert (found.family, found.variant, found.size_bytes) == ("flux", "dev", size)


def test_twelve_gigabytes_of_pickle_are_identified_without_reading_them(tmp_path: Path) -> None:
    sample = load_sample("sdxl")
    wide = {name: TensorFacts("F32", facts.shape) for name, facts in sample.tensors.items()}
    file = write_sparse_pickle(tmp_path / "sd_xl_base.ckpt", wide)
    size = file.stat().st_size
    assert size > 12 * 2**30
    before = read_bytes()
    found = identify(file)
    assert read_bytes() - before < 16 * 2**20
    assert (found.family, found.variant, found.size_bytes) == ("sdxl", "base", size)


def test_reading_a_file_is_noticed_by_that_measure(tmp_path: Path) -> None:
    file = written(tmp_path, "x", bytes(2**20))
    before = read_bytes()
    file.read_bytes()
    assert read_bytes() - before >= 2**20


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("sdxl", tmp_path_factory.mktemp("made") / "drawings")


def copied(source: Path, target: Path) -> Path:
    """A folder of hard links, cheap to damage."""
    for file in source.rglob("*"):
        if file.is_file():
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, place)
    return target


def rewritten(file: Path, change: Mapping[str, Any]) -> None:
    value = json.loads(file.read_text(encoding="utf-8")) | dict(change)
    file.unlink()
    file.write_text(json.dumps(value), encoding="utf-8")


def test_pipeline_folder_is_identified(pipeline: Path) -> None:
    found = identify(pipeline)
    assert (found.kind, found.family, found.variant) == (ModelKind.CHECKPOINT, "sdxl", "base")
    assert found.file_format is FileFormat.DIFFUSERS
    assert [each.name for each in found.components] == ["text_encoder", "text_encoder_2", "unet", "vae"]
    assert found.details == {"pipeline_class": "StableDiffusionXLPipeline", "prediction_type": "epsilon"}
    assert found.size_bytes == sum(each.size_bytes for each in found.components)


def test_pipeline_without_a_component_is_incomplete(pipeline: Path, tmp_path: Path) -> None:
    folder = copied(pipeline, tmp_path / "copy")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsCorrupt, match="unet has no weights; fetch it again"):
        identify(folder)
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(WeightsCorrupt, match=r"unet/config\.json is missing"):
        identify(folder)
    (folder / "unet").rmdir()
    with pytest.raises(WeightsCorrupt, match="the folder unet is missing"):
        identify(folder)


def test_pipeline_with_a_torn_component_is_corrupt(pipeline: Path, tmp_path: Path) -> None:
    folder = copied(pipeline, tmp_path / "copy")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(data[:-100])
    with pytest.raises(WeightsCorrupt, match="is truncated"):
        identify(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"_class_name": "StableVideoDiffusionPipeline"},
            "does not run here: StableVideoDiffusionPipeline makes videos",
        ),
        ({"_class_name": ["pipeline", "Custom"]}, "needs program code of its own"),
        ({"unet": ["my_unet", "MyUNet"]}, "needs program code of its own for unet"),
    ],
)
def test_pipeline_we_cannot_run_is_not_ours(
    change: dict[str, Any], says: str, pipeline: Path, tmp_path: Path
) -> None:
    folder = copied(pipeline, tmp_path / "copy")
    rewritten(folder / "model_index.json", change)
    with pytest.raises(NotRecognised, match=says):
        identify(folder)


def test_component_outside_the_folder_is_refused(pipeline: Path, tmp_path: Path) -> None:
    folder = copied(pipeline, tmp_path / "copy")
    rewritten(folder / "model_index.json", {"../drawings": ["diffusers", "AutoencoderKL"]})
    with pytest.raises(WeightsCorrupt, match="is missing"):
        identify(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"a": ' * 100_000])
def test_damaged_index_is_corrupt(text: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsCorrupt, match=r"model_index\.json is damaged"):
        identify(tmp_path)


def test_half_precision_version_alone_is_taken(pipeline: Path, tmp_path: Path) -> None:
    folder = copied(pipeline, tmp_path / "copy")
    plain = folder / "unet" / "diffusion_pytorch_model.safetensors"
    plain.rename(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert identify(folder).components == identify(pipeline).components


def test_one_of_several_versions_is_counted(pipeline: Path, tmp_path: Path) -> None:
    folder = copied(pipeline, tmp_path / "copy")
    unet = folder / "unet"
    os.link(unet / "diffusion_pytorch_model.safetensors", unet / "diffusion_pytorch_model.fp16.safetensors")
    (unet / "diffusion_pytorch_model.bin").write_bytes(b"never opened")
    assert identify(folder).components == identify(pipeline).components


def test_turbo_is_told_by_its_noise_scheduler(pipeline: Path, tmp_path: Path) -> None:
    folder = copied(pipeline, tmp_path / "copy")
    settings = {"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"}
    rewritten(folder / "scheduler" / "scheduler_config.json", settings)
    assert identify(folder).variant == "turbo"


def test_shards_are_one_component(pipeline: Path, tmp_path: Path) -> None:
    sample = load_sample("controlnet-sd15")
    names = sorted(sample.tensors)
    folder = tmp_path / "control_depth"
    for number, part in enumerate((names[:100], names[100:]), start=1):
        write_sparse(
            folder / f"diffusion_pytorch_model-{number:05}-of-00002.safetensors",
            {name: sample.tensors[name] for name in part},
        )
    found = identify(folder)
    assert (found.kind, found.variant) == (ModelKind.CONTROLNET, "depth")
    assert found.components[0].tensors == len(names)
    (folder / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsCorrupt, match="shard 2 of 2 is missing"):
        identify(folder)


def test_tensor_in_two_shards_is_corrupt(tmp_path: Path) -> None:
    for number in (1, 2):
        write_sparse(
            tmp_path / f"model-{number:05}-of-00002.safetensors",
            {"conv_in.weight": TensorFacts("F32", (2, 2))},
        )
    with pytest.raises(WeightsCorrupt, match=r"repeats conv_in\.weight"):
        identify(tmp_path)


def test_component_folder_is_identified_by_its_configuration(pipeline: Path, tmp_path: Path) -> None:
    vae = copied(pipeline / "vae", tmp_path / "vae")
    assert identify(vae).family == "sdxl"
    rewritten(vae / "config.json", {"scaling_factor": 0.18215})
    assert identify(vae).family == "sd15"


def test_lora_repository_is_identified(tmp_path: Path) -> None:
    write_sparse_sample("lora-sd15-peft", tmp_path)
    folder = tmp_path / "weights"
    (folder / "adapter_config.json").write_text('{"r": 8, "lora_alpha": 32}', encoding="utf-8")
    (folder / "README.md").write_text("# A LoRA", encoding="utf-8")
    found = identify(folder)
    assert (found.kind, found.file_format) == (ModelKind.LORA, FileFormat.PEFT)
    assert found.details["alpha"] == 32.0
    assert found.details["files"] == ("adapter_model.safetensors",)


def test_repository_without_weights_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Soon", encoding="utf-8")
    (tmp_path / "images").mkdir()
    with pytest.raises(NotRecognised, match=r"holds no weights; it has the folders .*images"):
        identify(tmp_path)


def test_repository_of_several_models_asks_for_one(tmp_path: Path) -> None:
    for name in ("vae-sd15", "upscaler-upconv"):
        sample = load_sample(name)
        write_sparse(tmp_path / sample.file, sample.tensors)
    with pytest.raises(NotRecognised, match=r"holds 2 models .*; import one of its files"):
        identify(tmp_path)


def test_leftovers_of_a_trainer_are_no_model(tmp_path: Path) -> None:
    sample = load_sample("upscaler-upconv")
    write_sparse(tmp_path / sample.file, sample.tensors)
    (tmp_path / "optimizer.bin").write_bytes(b"never opened")
    assert identify(tmp_path).kind is ModelKind.UPSCALER


def test_words_of_the_name_are_weak_evidence() -> None:
    """They choose between variants of equal tensors, never against the tensors."""
    flux = {name: facts.shape for name, facts in load_sample("flux-schnell").tensors.items()}
    assert apply(contents(flux, "flux1-kontext-dev.safetensors")).variant == "schnell"
    sd15 = {name: facts.shape for name, facts in load_sample("sd15").tensors.items()}
    assert apply(contents(sd15, "dreamXL-sdxl-flux.safetensors")).family == "sd15"
    assert apply(contents(sd15, "dreamTurboLCM.safetensors")).variant == "lcm"


def test_unknown_tensors_are_described() -> None:
    with pytest.raises(NotRecognised, match=r"2 tensors of an unknown architecture \(first: alpha, beta\)"):
        apply(contents({"beta": (2, 2), "alpha": (3, 3, 3)}))


def test_early_merge_without_text_model_level_is_whole() -> None:
    old = {
        name.replace("transformer.text_model.", "transformer."): facts.shape
        for name, facts in load_sample("sd15").tensors.items()
    }
    assert apply(contents(old)).family == "sd15"


def test_unusual_channels_are_refused() -> None:
    tensors = {name: facts.shape for name, facts in load_sample("sd15").tensors.items()}
    tensors["model.diffusion_model.input_blocks.0.0.weight"] = (320, 13, 3, 3)
    with pytest.raises(NotRecognised, match="takes 13 channels"):
        apply(contents(tensors))


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, ()),
        ({"modelspec.trigger_phrase": "  ohwx woman ,, portrait\n"}, ("ohwx woman", "portrait")),
        ({"ss_tag_frequency": '{"a": {"x": 10, "y": 9}, "b": {"x": 5, "z": 1}}'}, ("x",)),
        ({"ss_tag_frequency": '{"a": {"x": 10, "y": 9, "z": 2}}'}, ("x", "y")),
        ({"ss_tag_frequency": '{"a": {"x": "many", "y": -3, "z": true}}'}, ()),
        ({"ss_tag_frequency": "[1, 2]"}, ()),
        ({"ss_tag_frequency": "not json"}, ()),
        ({"ss_tag_frequency": "[" * 100_000}, ()),
    ],
)
def test_trigger_words_come_from_what_the_author_said(
    metadata: dict[str, str], expected: tuple[str, ...]
) -> None:
    assert trigger_words(metadata) == expected


def test_display_text_is_bounded_and_printable(tmp_path: Path) -> None:
    sample = load_sample("vae-sdxl")
    wild = {"modelspec.title": "A\x00B\n" + "x" * 5000, "modelspec.license": "\x1b[31mred"}
    found = identify(write_sparse(tmp_path / "vae.safetensors", sample.tensors, wild))
    assert found.title == "A B " + "x" * 196
    assert found.licence == "[31mred"


@pytest.mark.parametrize(
    ("file", "variant"),
    [
        ("dreamshaperXL_v21TurboDPMSDE.safetensors", "turbo"),
        ("realvisXL_DPMSDETurbo.safetensors", "turbo"),
        ("juggernautXL-lightning-8steps.safetensors", "lightning"),
        ("Hyper-SDXL-8steps.safetensors", "lightning"),
        ("hyperrealistic_v3.safetensors", "base"),
        ("Hyper Real XL.safetensors", "base"),
        ("lightningstrike.safetensors", "base"),
    ],
)
def test_few_steps_are_told_by_whole_words(file: str, variant: str) -> None:
    sdxl = {name: facts.shape for name, facts in load_sample("sdxl").tensors.items()}
    assert apply(contents(sdxl, file)).variant == variant


@pytest.mark.parametrize("seed", range(40))
def test_mutilated_files_are_answered_or_refused_never_crashed_on(seed: int) -> None:
    """Tensors dropped, renamed and reshaped at random: the answer is one of ours."""
    chance = random.Random(seed)
    for name in chance.sample(SAMPLES, 8):
        sample = load_sample(name)
        tensors: dict[str, TensorFacts] = {}
        for each, facts in sample.tensors.items():
            draw = chance.random()
            if draw < 0.1:
                continue
            renamed = each[chance.randrange(len(each)) :] or "x" if draw < 0.15 else each
            sides = tuple(chance.choice((0, 1, 3, 4, 768)) for _ in range(chance.randrange(5)))
            tensors[renamed] = TensorFacts(facts.dtype, sides) if draw > 0.8 else facts
        kept = dict(chance.sample(sorted(tensors.items()), chance.randint(0, len(tensors))))
        mutilated = Contents(path=Path("weights/x.safetensors"), tensors=kept, size_bytes=1)
        try:
            assert apply(mutilated).kind in ModelKind
        except RuntimeFault as fault:
            assert str(fault)
