"""Single-file checkpoints: the components are those of the diffusers repository, and make the same image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models import embeddings
from safetensors.torch import load_file, save_file

from gpu_runtime.tiny.original_layout import to_original
from gpu_runtime.weights.importing import single_files
from gpu_runtime.weights.importing.classes import find_class
from gpu_runtime.weights.importing.configs import SHIPPED, Config, canonical_config, read_json
from gpu_runtime.weights.importing.layouts import layout_of
from gpu_runtime.weights.importing.networks import build_empty
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.importing.single_files import check_parts
from tests.gpu_runtime.import_jobs import Workshop, digests


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.mark.parametrize(
    ("recipe", "family", "variant", "differing"),
    [
        ("sd15", "sd15", "base", set()),
        ("sd15-inpaint", "sd15", "inpaint", set()),
        # The tiny VAE of SD 2 says another training resolution than the released one, which no tensor tells.
        ("sd2-base", "sd2", "base", {"vae"}),
        ("sdxl", "sdxl", "base", set()),
        ("sdxl-refiner", "sdxl", "refiner", set()),
        ("sd3", "sd3", "medium", set()),
        ("sd3.5-medium", "sd3", "3.5-medium", set()),
        ("sd3.5-large", "sd3", "3.5-large", set()),
        ("flux", "flux", "dev", set()),
        ("flux-schnell", "flux", "schnell", set()),
        ("flux-fill", "flux", "fill", set()),
    ],
)
def test_components_are_those_of_the_diffusers_repository(
    workshop: Workshop, recipe: str, family: str, variant: str, differing: set[str]
) -> None:
    repository = workshop.run(workshop.tiny(recipe))
    single = workshop.run(workshop.single_file(recipe, family), donors=(repository.path,))

    assert (single.identified.family, single.identified.variant) == (family, variant)
    theirs, ours = digests(repository), digests(single)
    assert ours.keys() == theirs.keys()
    # Noise schedulers are configured as released in the one and as the library saves them in the other.
    assert {name for name in ours if ours[name] != theirs[name]} == differing | {"scheduler"}
    for name in differing:
        weights = "diffusion_pytorch_model.safetensors"
        assert (single.path / name / weights).read_bytes() == (repository.path / name / weights).read_bytes()


def image_of(folder: Path, **settings: Any) -> np.ndarray:
    # A pipeline wants to be told of each part that its index says is absent.
    index = read_json(folder / "model_index.json")
    absent = dict.fromkeys(name for name, entry in index.items() if entry == [None, None])
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True, **absent)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(7)
    image = pipeline(
        "a photo of a cat", num_inference_steps=2, generator=generator, output_type="np", **settings
    )
    return np.asarray(image.images[0])


@pytest.mark.parametrize(
    ("recipe", "family"), [("sd15", "sd15"), ("sdxl", "sdxl"), ("sd3", "sd3"), ("flux", "flux")]
)
def test_image_is_that_of_the_source(workshop: Workshop, recipe: str, family: str) -> None:
    source = workshop.tiny(recipe)
    repository = workshop.run(source)
    single = workshop.run(workshop.single_file(recipe, family), donors=(repository.path,))

    expected = image_of(source, height=64, width=64)

    assert np.array_equal(image_of(repository.path, height=64, width=64), expected)
    assert np.array_equal(image_of(single.path, height=64, width=64), expected)
    assert expected.std() > 0


def test_import_again_changes_nothing(workshop: Workshop) -> None:
    file = workshop.single_file("sd15", "sd15")
    first = workshop.run(file)
    before = workshop.contents()

    again = workshop.run(file)

    assert again.path == first.path
    assert workshop.contents() == before


def test_same_weights_as_pickle_are_the_same_checkpoint(workshop: Workshop) -> None:
    file = workshop.single_file("sd15", "sd15")
    tensors = load_file(file)
    pickled = workshop.root / "old.ckpt"
    torch.save({"state_dict": tensors, "global_step": 840000, "epoch": 3}, pickled)

    assert workshop.run(pickled).digest == workshop.run(file).digest


def test_fine_tunes_share_text_encoder_and_vae(workshop: Workshop) -> None:
    first = workshop.run(workshop.tiny("sd15", seed=1, shared_seed=0))
    second = workshop.run(workshop.tiny("sd15", seed=2, shared_seed=0))

    shared = {name for name, digest in digests(first).items() if digests(second)[name] == digest}
    assert shared == {"text_encoder", "vae", "tokenizer", "scheduler"}
    assert len(workshop.store.list_components()) == 6
    assert workshop.store.users_of(digests(first)["vae"]) == sorted([first.digest, second.digest])


def test_ema_and_training_state_are_left_out(workshop: Workshop) -> None:
    file = workshop.single_file("sd15", "sd15")
    tensors = load_file(file)
    ema = {
        f"model_ema.{name.replace('.', '')}": tensor.clone()
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    trained = workshop.root / "trained.safetensors"
    save_file(tensors | ema | {"model_ema.decay": torch.tensor(0.9)}, trained)

    imported = workshop.run(trained)

    assert imported.digest == workshop.run(file).digest
    assert imported.details["ignored"] == ["model_ema"]


def test_half_precision_halves_the_networks(workshop: Workshop) -> None:
    file = workshop.single_file("sd15", "sd15")

    imported = workshop.run(file, precision="float16")

    dtypes = {each.name: each.dtype for each in imported.components}
    assert dtypes == {"unet": "F16", "vae": "F16", "text_encoder": "F16", "tokenizer": "", "scheduler": ""}
    stored = load_file(imported.path / "unet" / "diffusion_pytorch_model.safetensors")
    source = load_file(workshop.tiny("sd15") / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(stored[name], source[name].half()) for name in source)


def test_scaled_float8_becomes_what_it_stands_for(workshop: Workshop) -> None:
    repository = workshop.run(workshop.tiny("flux"))
    tensors = load_file(workshop.single_file("flux", "flux"))
    name = "model.diffusion_model.double_blocks.0.img_mlp.0.weight"
    small = (tensors[name] / 0.5).to(torch.float8_e4m3fn)
    scaled = {name: small, name.replace("weight", "scale_weight"): torch.tensor(0.5)}
    marker = {"model.diffusion_model.scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    file = workshop.root / "scaled.safetensors"
    save_file(tensors | scaled | marker, file)

    imported = workshop.run(file, donors=(repository.path,))

    stored = load_file(imported.path / "transformer" / "diffusion_pytorch_model.safetensors")
    found = stored["transformer_blocks.0.ff.net.0.proj.weight"]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, (small.float() * 0.5).bfloat16())


def test_file_without_vae_takes_the_donors(workshop: Workshop) -> None:
    donor = workshop.run(workshop.tiny("sd15"))
    file = workshop.single_file("sd15", "sd15", only=("unet", "text_encoder"))

    imported = workshop.run(file, donors=(donor.path,))

    assert digests(imported)["vae"] == digests(donor)["vae"]
    assert imported.details["missing"] == []


def test_file_without_vae_and_donor_is_refused(workshop: Workshop) -> None:
    file = workshop.single_file("sd15", "sd15", only=("unet", "text_encoder"))

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.MISSING_COMPONENT
    assert refused.value.message == (
        "the file lacks vae of Stable Diffusion 1.x: first import a complete Stable Diffusion 1.x repository "
        "in the diffusers layout; this file then shares its parts"
    )
    assert workshop.contents() == {}


def test_donor_of_another_width_is_no_donor(workshop: Workshop) -> None:
    donor = workshop.run(workshop.tiny("sd2-base"))
    file = workshop.single_file("sd15", "sd15", only=("unet", "vae"))

    with pytest.raises(ImportRefused, match="lacks text_encoder") as refused:
        workshop.run(file, donors=(donor.path,))

    assert refused.value.code == RefusalCode.MISSING_COMPONENT


def test_flux_without_a_donor_says_what_to_import(workshop: Workshop) -> None:
    file = workshop.single_file("flux", "flux", only=("transformer",))

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.MISSING_COMPONENT
    assert refused.value.message == (
        "the file lacks vae, text_encoder, text_encoder_2, tokenizer_2 of FLUX.1: first import a complete "
        "FLUX.1 repository in the diffusers layout (the T5 text encoder and its vocabulary come only that "
        "way); this file then shares its parts"
    )
    assert workshop.contents() == {}


def test_sd3_without_t5_is_complete(workshop: Workshop) -> None:
    imported = workshop.run(workshop.single_file("sd3", "sd3"))

    assert {"text_encoder_3", "tokenizer_3"}.isdisjoint(digests(imported))
    assert imported.details["missing"] == ["text_encoder_3", "tokenizer_3"]
    assert image_of(imported.path, height=64, width=64).std() > 0


def test_t5_alone_may_be_the_donor(workshop: Workshop) -> None:
    source = workshop.tiny("flux")
    folder = workshop.root / "t5"
    for part in ("text_encoder_2", "tokenizer_2"):
        folder.mkdir(exist_ok=True)
        for file in (source / part).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    donor = workshop.run(folder)
    file = workshop.single_file("flux", "flux", only=("transformer", "vae", "text_encoder"))

    imported = workshop.run(file, donors=(donor.path,))

    assert donor.identified.kind == "text_encoder"
    assert digests(imported)["text_encoder_2"] == digests(imported)["tokenizer_2"] == donor.digest
    expected = image_of(source, height=64, width=64)
    assert np.array_equal(image_of(imported.path, height=64, width=64), expected)


def test_velocity_is_read_from_the_markers(workshop: Workshop) -> None:
    tensors = load_file(workshop.single_file("sdxl", "sdxl"))
    file = workshop.root / "noob.safetensors"
    save_file(tensors | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, file)

    imported = workshop.run(file)

    scheduler = read_json(imported.path / "scheduler" / "scheduler_config.json")
    assert scheduler["prediction_type"] == "v_prediction"
    assert scheduler["rescale_betas_zero_snr"] is True
    assert scheduler["timestep_spacing"] == "trailing"
    assert imported.details["prediction_type"] == "v_prediction"


@pytest.mark.parametrize(
    ("recipe", "family", "first", "variant", "pipeline"),
    [
        ("sd15", "sd15", "input_blocks.0.0.weight", "pix2pix", "StableDiffusionInstructPix2PixPipeline"),
        ("sdxl", "sdxl", "input_blocks.0.0.weight", "pix2pix", "StableDiffusionXLInstructPix2PixPipeline"),
        ("flux", "flux", "img_in.weight", "control", "FluxControlPipeline"),
    ],
)
def test_variant_with_a_pipeline_of_its_own_loads(
    workshop: Workshop, recipe: str, family: str, first: str, variant: str, pipeline: str
) -> None:
    """Twice as many channels go in: the image to change lies beside the one that is made."""
    donor = workshop.run(workshop.tiny(recipe))
    tensors = load_file(workshop.single_file(recipe, family))
    name = f"model.diffusion_model.{first}"
    tensors[name] = torch.cat([tensors[name], tensors[name]], dim=1)
    file = workshop.root / "edit.safetensors"
    save_file(tensors, file)

    imported = workshop.run(file, donors=(donor.path,))

    assert imported.identified.variant == variant
    loaded = diffusers.DiffusionPipeline.from_pretrained(imported.path, local_files_only=True)
    assert type(loaded).__name__ == pipeline


def test_sd2_without_a_word_predicts_velocity(workshop: Workshop) -> None:
    imported = workshop.run(workshop.single_file("sd2", "sd2").rename(workshop.root / "tune.safetensors"))

    assert imported.details["prediction_type"] == "v_prediction"
    assert read_json(imported.path / "scheduler" / "scheduler_config.json")["_class_name"] == "DDIMScheduler"
    assert read_json(imported.path / "unet" / "config.json")["sample_size"] == 96


def test_missing_tensor_is_named_and_nothing_is_written(workshop: Workshop) -> None:
    tensors = load_file(workshop.single_file("sd15", "sd15"))
    del tensors["model.diffusion_model.input_blocks.1.1.transformer_blocks.0.ff.net.2.bias"]
    file = workshop.root / "torn.safetensors"
    save_file(tensors, file)

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.WEIGHTS_CORRUPT
    assert refused.value.message == (
        "UNet2DConditionModel: the tensor down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.bias is "
        "missing"
    )
    assert workshop.contents() == {}


def test_wrong_shape_is_named(workshop: Workshop) -> None:
    tensors = load_file(workshop.single_file("sd15", "sd15"))
    tensors["first_stage_model.decoder.mid.block_1.conv2.bias"] = torch.zeros(5)
    file = workshop.root / "bent.safetensors"
    save_file(tensors, file)

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.WEIGHTS_CORRUPT
    assert refused.value.message == (
        "AutoencoderKL: decoder.mid_block.resnets.0.conv2.bias has the shape [5] where [32] belongs"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_is_not_finite_is_named(workshop: Workshop, value: float) -> None:
    tensors = load_file(workshop.single_file("sd15", "sd15"))
    name = "model.diffusion_model.time_embed.0.weight"
    tensors[name] = tensors[name].clone()
    tensors[name][3, 1] = value
    file = workshop.root / "nan.safetensors"
    save_file(tensors, file)

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.WEIGHTS_CORRUPT
    assert refused.value.message == (
        "time_embedding.linear_1.weight contains numbers that are not finite (NaN or infinity)"
    )
    assert workshop.store.list_checkpoints() == []
    assert list(workshop.store.staging.iterdir()) == []


def test_precision_that_cannot_hold_a_number_says_which_can(workshop: Workshop) -> None:
    tensors = load_file(workshop.single_file("sd15", "sd15"))
    name = "model.diffusion_model.time_embed.0.bias"
    tensors[name] = torch.full_like(tensors[name], 1e6)
    file = workshop.root / "large.safetensors"
    save_file(tensors, file)

    with pytest.raises(ImportRefused, match="too large for F16: import with --precision bfloat16 or keep"):
        workshop.run(file, precision="float16")

    assert workshop.run(file, precision="bfloat16").path.is_dir()


def test_text_encoder_of_another_vocabulary_is_refused(workshop: Workshop) -> None:
    tensors = load_file(workshop.single_file("sd15", "sd15"))
    name = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    tensors[name] = torch.cat([tensors[name], tensors[name][:2]])
    file = workshop.root / "words.safetensors"
    save_file(tensors, file)

    with pytest.raises(ImportRefused, match="its text_encoder knows 49410 tokens, CLIP has 49408") as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.UNSUPPORTED_MODEL


@pytest.fixture(scope="module")
def built() -> Iterator[Callable[..., Any]]:
    """`build_empty` that builds each network once and no position table, which take seconds at full size."""
    modules: dict[str, Any] = {}
    table = embeddings.get_2d_sincos_pos_embed

    def without_numbers(*arguments: Any, **options: Any) -> Any:
        with torch.device("meta"):
            return table(*arguments, **options)

    def build(network_class: Any, config: Config) -> Any:
        key = json.dumps([network_class.__name__, canonical_config(network_class, config)], sort_keys=True)
        if key not in modules:
            modules[key] = build_empty(network_class, config)
        return modules[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single_files, "build_empty", build)
        patch.setattr(embeddings, "get_2d_sincos_pos_embed", without_numbers)
        yield build


VARIANTS = sorted(folder.name for folder in SHIPPED.iterdir() if (folder / "model_index.json").is_file())


@pytest.mark.parametrize("shipped", VARIANTS)
def test_shapes_of_the_released_network_give_the_released_configuration(
    shipped: str, built: Callable[..., Any]
) -> None:
    """At full size, without a number: what shapes say agrees with what was published in every setting."""
    family, _, variant = shipped.partition("-")
    index = read_json(SHIPPED / shipped / "model_index.json")
    named = {
        name: (find_class(*entry), read_json(SHIPPED / shipped / name / "config.json"))
        for name, entry in index.items()
        if isinstance(entry, list) and (SHIPPED / shipped / name / "config.json").is_file()
    }
    states = {name: built(*each).state_dict() for name, each in named.items()}

    ready = check_parts(layout_of(family, variant) or (), SHIPPED / shipped, to_original(family, states))

    assert {each.part.name for each in ready} == named.keys()
    for each in ready:
        network_class, published = named[each.part.name]
        assert canonical_config(network_class, each.config) == canonical_config(network_class, published)
        assert each.tensors.keys() <= states[each.part.name].keys()


def test_last_block_of_sd2s_encoder_is_left_out() -> None:
    """Released files carry 24 blocks; SD 2 takes the output of the one before the last."""
    folder = SHIPPED / "sd2-base"
    config = read_json(folder / "text_encoder" / "config.json")
    network_class = find_class("transformers", "CLIPTextModel")
    state = build_empty(network_class, config | {"num_hidden_layers": 24}).state_dict()
    tensors = to_original("sd2", {"text_encoder": state})

    (ready,) = check_parts(layout_of("sd2", "base") or (), folder, tensors)

    assert ready.config["num_hidden_layers"] == 23
    assert canonical_config(network_class, ready.config) == canonical_config(network_class, config)


@pytest.mark.parametrize(("recipe", "part"), [("sd15", "unet"), ("flux", "transformer")])
def test_denoiser_under_diffusers_names_takes_the_place_of_the_donors(
    workshop: Workshop, recipe: str, part: str
) -> None:
    donor = workshop.run(workshop.tiny(recipe, seed=1, shared_seed=0))
    other = workshop.run(workshop.tiny(recipe, seed=2, shared_seed=0))
    weights = workshop.tiny(recipe, seed=2, shared_seed=0) / part / "diffusion_pytorch_model.safetensors"
    file = weights.rename(workshop.root / f"{recipe}.safetensors")

    imported = workshop.run(file, donors=(donor.path,))

    assert imported.digest == other.digest
    assert imported.details == {"missing": [], "donor": donor.digest}


def test_qwen_image_comes_in_its_original_layout(workshop: Workshop) -> None:
    donor = workshop.run(workshop.tiny("qwen-image", seed=1, shared_seed=0))
    other = workshop.run(workshop.tiny("qwen-image", seed=2, shared_seed=0))
    source = workshop.tiny("qwen-image", seed=2, shared_seed=0) / "transformer"
    tensors = load_file(source / "diffusion_pytorch_model.safetensors")
    file = workshop.root / "qwen_image.safetensors"
    save_file({f"model.diffusion_model.{name}": tensor for name, tensor in tensors.items()}, file)

    assert workshop.run(file, donors=(donor.path,)).digest == other.digest


def test_denoiser_alone_without_a_donor_says_what_to_import(workshop: Workshop) -> None:
    weights = workshop.tiny("flux") / "transformer" / "diffusion_pytorch_model.safetensors"
    file = weights.rename(workshop.root / "tune.safetensors")

    with pytest.raises(ImportRefused) as refused:
        workshop.run(file)

    assert refused.value.code == RefusalCode.MISSING_COMPONENT
    assert refused.value.message == (
        "the file holds only the transformer of FLUX.1 dev: first import a complete FLUX.1 dev repository in "
        "the diffusers layout; this file then shares its other parts"
    )
    assert workshop.contents() == {}
