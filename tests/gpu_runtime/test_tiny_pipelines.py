"""Tiny pipelines: the layout of the real repositories, and nothing but the seed decides the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file

from gpu_runtime.tiny.pipelines import RECIPES, make_tiny, tiny_pipeline
from gpu_runtime.tiny.single_components import make_tiny_controlnet, make_tiny_embedding, make_tiny_vae

MakeOnce = Callable[[str], Path]

COMPONENTS = {
    "sd15": ("StableDiffusionPipeline", {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}),
    "sdxl-refiner": (
        "StableDiffusionXLImg2ImgPipeline",
        {"unet", "vae", "text_encoder_2", "tokenizer_2", "scheduler"},
    ),
    "sd3": (
        "StableDiffusion3Pipeline",
        {"transformer", "vae", "scheduler"}
        | {f"{kind}{n}" for kind in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")},
    ),
    "flux-kontext": (
        "FluxKontextPipeline",
        {"transformer", "vae", "scheduler"}
        | {f"{kind}{n}" for kind in ("text_encoder", "tokenizer") for n in ("", "_2")},
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    folder = tmp_path_factory.mktemp("tiny")

    def make(name: str) -> Path:
        return folder / name if (folder / name).exists() else make_tiny(name, folder / name)

    return make


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in files}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3", "flux", "z-image", "hidream", "prx"])
def test_same_seed_gives_the_same_bytes(name: str, made: MakeOnce, tmp_path: Path) -> None:
    torch.manual_seed(5)  # must not matter
    before = torch.get_rng_state()
    assert digests(make_tiny(name, tmp_path)) == digests(made(name))
    assert torch.equal(torch.get_rng_state(), before)


def test_other_seed_gives_other_weights_in_the_same_layout(made: MakeOnce, tmp_path: Path) -> None:
    first, second = digests(made("sd15")), digests(make_tiny("sd15", tmp_path, seed=1))
    assert first.keys() == second.keys()
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {name for name in first if name.endswith(".safetensors")}


def test_shared_seed_makes_fine_tunes_that_differ_in_the_denoiser(made: MakeOnce, tmp_path: Path) -> None:
    first, second = digests(made("sdxl")), digests(make_tiny("sdxl", tmp_path, seed=1, shared_seed=0))
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"unet/diffusion_pytorch_model.safetensors"}


def test_families_share_the_text_encoders_that_they_share_in_the_field(made: MakeOnce) -> None:
    clip = [digests(made(name) / "text_encoder") for name in ("sd15", "sdxl", "flux", "flux-schnell")]
    assert all(each == clip[0] for each in clip)
    assert digests(made("sd3") / "text_encoder_3") == digests(made("flux") / "text_encoder_2")


@pytest.mark.parametrize("name", COMPONENTS)
def test_index_names_the_components_that_are_there(name: str, made: MakeOnce) -> None:
    index = json.loads((made(name) / "model_index.json").read_text())
    named = {key for key, value in index.items() if isinstance(value, list) and value[1]}
    assert (index["_class_name"], named) == COMPONENTS[name]
    assert named == {child.name for child in made(name).iterdir() if child.is_dir()}


def test_clip_files_are_those_of_a_release(made: MakeOnce) -> None:
    tokenizers = [made("sdxl") / name for name in ("tokenizer", "tokenizer_2")]
    for folder in tokenizers:
        assert {file.name for file in folder.iterdir()} == {
            "merges.txt",
            "special_tokens_map.json",
            "tokenizer_config.json",
            "vocab.json",
        }
    pads = [
        json.loads((folder / "special_tokens_map.json").read_text())["pad_token"] for folder in tokenizers
    ]
    assert pads == ["<|endoftext|>", "!"]
    for name in ("sd15", "sd2"):
        tensors = weights(made(name) / "text_encoder")
        assert all(key.startswith("text_model.") for key in tensors)
        assert tensors["text_model.embeddings.token_embedding.weight"].shape[0] == 49408


def test_t5_is_named_as_in_releases(made: MakeOnce) -> None:
    index = json.loads((made("flux") / "model_index.json").read_text())
    assert index["tokenizer_2"] == ["transformers", "T5TokenizerFast"]
    assert "shared.weight" in weights(made("flux") / "text_encoder_2")


@pytest.mark.parametrize(
    ("name", "tensor", "shape"),
    [
        ("sd15", "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k.weight", (8, 12)),
        ("sd15-inpaint", "conv_in.weight", (8, 9, 3, 3)),
        ("sd2", "mid_block.attentions.0.proj_in.weight", (40, 40)),
        ("sdxl", "add_embedding.linear_1.weight", (40, 20 + 6 * 8)),
        ("sdxl", "down_blocks.2.attentions.1.transformer_blocks.2.attn2.to_k.weight", (40, 32)),
        ("sdxl-refiner", "add_embedding.linear_1.weight", (48, 20 + 5 * 8)),
    ],
)
def test_unets_have_the_layers_of_the_real_ones(
    name: str, tensor: str, shape: tuple[int, ...], made: MakeOnce
) -> None:
    assert weights(made(name) / "unet")[tensor].shape == shape


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("flux", "time_text_embed.guidance_embedder.linear_1.weight", "none"),
        ("flux-schnell", "x_embedder.weight", "time_text_embed.guidance_embedder.linear_1.weight"),
        ("sd3", "transformer_blocks.0.attn.add_q_proj.weight", "transformer_blocks.0.attn.norm_q.weight"),
        ("sd3.5-large", "transformer_blocks.0.attn.norm_q.weight", "transformer_blocks.0.attn2.to_q.weight"),
        ("sd3.5-medium", "transformer_blocks.0.attn2.to_q.weight", "transformer_blocks.1.attn2.to_q.weight"),
    ],
)
def test_variants_of_transformers_are_told_by_their_layers(
    name: str, has: str, lacks: str, made: MakeOnce
) -> None:
    tensors = weights(made(name) / "transformer")
    assert has in tensors
    assert lacks not in tensors


@pytest.mark.parametrize(("name", "channels"), [("sd15", 4), ("sdxl", 4), ("sd3", 16), ("flux", 16)])
def test_latents_have_the_real_number_of_channels(name: str, channels: int, made: MakeOnce) -> None:
    assert json.loads((made(name) / "vae" / "config.json").read_text())["latent_channels"] == channels


@pytest.mark.parametrize("name", ["sd15", "sd2", "sdxl", "sdxl-turbo", "sd3", "sd3.5-medium", "flux"])
def test_plain_diffusers_loads_and_generates(name: str, made: MakeOnce) -> None:
    pipeline = DiffusionPipeline.from_pretrained(made(name), local_files_only=True, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def image(prompt: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        arguments = {"width": 64, "height": 64, "num_inference_steps": 2, "output_type": "pt"}
        images: torch.Tensor = pipeline(prompt, generator=generator, **arguments).images
        return images

    red = image("a red fox")
    assert red.shape == (1, 3, 64, 64)
    assert red.std() > 0.05
    assert not torch.allclose(red, image("seven boats"), atol=1e-3), "the prompt must matter"


DENOISERS = ("unet", "transformer", "prior_prior", "decoder")


def test_every_recipe_builds_without_a_dead_layer() -> None:
    for name in RECIPES:
        components = tiny_pipeline(name).components
        denoiser = next(components[part] for part in DENOISERS if part in components)
        dead = [key for key, p in denoiser.named_parameters() if p.ndim > 1 and not p.any()]
        assert dead == [], name


def test_unknown_family_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no tiny pipeline of 'sd9'"):
        make_tiny("sd9", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_vae_alone_is_that_of_the_pipeline(made: MakeOnce, tmp_path: Path) -> None:
    assert digests(make_tiny_vae("sdxl", tmp_path)) == digests(made("sdxl") / "vae")


@pytest.mark.parametrize(
    ("family", "shapes"),
    [("sd15", {"emb_params": (3, 12)}), ("sdxl", {"clip_l": (3, 12), "clip_g": (3, 20)})],
)
def test_embedding_has_vectors_for_each_text_encoder(
    family: str, shapes: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    file = make_tiny_embedding(family, tmp_path / "e.safetensors", vectors=3)
    assert {name: tuple(tensor.shape) for name, tensor in load_file(file).items()} == shapes


@pytest.mark.parametrize(
    ("family", "class_name"),
    [("sd15", "ControlNetModel"), ("sd3", "SD3ControlNetModel"), ("flux", "FluxControlNetModel")],
)
def test_controlnet_is_of_its_familys_class(family: str, class_name: str, tmp_path: Path) -> None:
    make_tiny_controlnet(family, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == class_name
    assert all(bool(tensor.any()) for tensor in weights(tmp_path).values() if tensor.ndim > 1)
