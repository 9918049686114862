"""Which files of a repository are fetched: listings as the hub's real repositories have them."""

from __future__ import annotations

from typing import Any

import pytest

from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.sources.choose import Listed, choose_files
from apps.catalog.imports.sources.plan import Plan, RemoteFile
from tests.apps.catalog.imports.studio import hub

SDXL_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionXLPipeline",
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "image_encoder": [None, None],
}
SDXL = [
    ".gitattributes",
    "01.png",
    "LICENSE.md",
    "README.md",
    "model_index.json",
    "sd_xl_base_1.0.safetensors",
    "sd_xl_offset_example-lora_1.0.safetensors",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/flax_model.msgpack",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.onnx",
    "text_encoder/model.safetensors",
    "text_encoder/openvino_model.bin",
    "text_encoder/openvino_model.xml",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/model.onnx_data",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "vae_1_0/config.json",
    "vae_1_0/diffusion_pytorch_model.safetensors",
    "vae_decoder/model.onnx",
]


def listed(*names: str) -> list[Listed]:
    return [Listed(name=name, size=1, sha256="") for name in names]


def choose(names: list[str], index: dict[str, Any] | None = None, **options: Any) -> list[str]:
    chosen = choose_files(listed(*names), options=hub("lab/repo", **options), index=index or {})
    return sorted(item.name for item in chosen)


def refusal(names: list[str], **options: Any) -> tuple[str, str]:
    with pytest.raises(ImportFailure) as caught:
        choose(names, **options)
    return caught.value.code, caught.value.message


def test_a_pipeline_comes_once_and_in_half_precision() -> None:
    assert choose(SDXL, SDXL_INDEX) == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ]


def test_a_variant_that_not_every_component_has_is_not_taken() -> None:
    names = [name for name in SDXL if name != "vae/diffusion_pytorch_model.fp16.safetensors"]
    chosen = choose(names, SDXL_INDEX)
    assert [name for name in chosen if name.endswith(".safetensors")] == [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_another_precision_is_rather_made_from_the_full_one() -> None:
    chosen = choose(SDXL, SDXL_INDEX, precision="bfloat16")
    assert [name for name in chosen if name.endswith(".safetensors")] == [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_the_safety_checker_stays_away() -> None:
    index = {**SDXL_INDEX, "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    names = [*SDXL, "safety_checker/config.json", "safety_checker/model.safetensors"]
    assert choose(names, index) == choose(SDXL, SDXL_INDEX)


def test_shards_come_with_their_index_and_without_that_of_others() -> None:
    index = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
    names = [
        "model_index.json",
        "flux1-dev.safetensors",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "transformer/diffusion_pytorch_model.bin.index.json",
    ]
    assert choose(names, index) == [
        "model_index.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
    ]


def test_sharded_variants_in_both_spellings() -> None:
    index = {"_class_name": "X", "text_encoder": ["transformers", "T5EncoderModel"]}
    old = [f"text_encoder/model-0000{n}-of-00002.fp16.safetensors" for n in (1, 2)]
    new = [f"text_encoder/model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for shards in (old, new):
        names = [
            "model_index.json",
            "text_encoder/model.safetensors.index.fp16.json",
            "text_encoder/model.safetensors.index.json",
            "text_encoder/model-00001-of-00001.safetensors",
            *shards,
        ]
        chosen = choose(names, index)
        assert [name for name in chosen if name.endswith(".safetensors")] == shards
        assert "text_encoder/model.safetensors.index.fp16.json" in chosen
        assert "text_encoder/model.safetensors.index.json" not in chosen


def test_pickles_only_where_there_is_nothing_else() -> None:
    index = {"_class_name": "X", "unet": ["diffusers", "UNet2DConditionModel"]}
    names = ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin"]
    assert choose(names, index) == names


def test_a_component_by_itself() -> None:
    names = [
        "README.md",
        "config.json",
        "diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.safetensors",
        "images/a.png",
    ]
    assert choose(names) == ["config.json", "diffusion_pytorch_model.fp16.safetensors"]


def test_a_lora_repository() -> None:
    assert choose(["README.md", "pytorch_lora_weights.safetensors", "image.png"]) == [
        "pytorch_lora_weights.safetensors"
    ]
    both = ["pytorch_lora_weights.safetensors", "my_style_emb.safetensors"]
    assert choose(both) == ["pytorch_lora_weights.safetensors"]


def test_one_model_in_several_precisions() -> None:
    names = ["model.safetensors", "model.fp16.safetensors", "model.ckpt"]
    assert choose(names) == ["model.fp16.safetensors"]


def test_several_models() -> None:
    code, message = refusal(["a.safetensors", "b.safetensors"])
    assert (code, message) == (
        "choose_file",
        "lab/repo has several models; name one file of a.safetensors, b.safetensors.",
    )
    assert choose(["a.safetensors", "b.safetensors"], file="b.safetensors") == ["b.safetensors"]


def test_a_folder_of_a_repository() -> None:
    names = [
        "canny/config.json",
        "canny/diffusion_pytorch_model.safetensors",
        "depth/config.json",
        "depth/diffusion_pytorch_model.safetensors",
    ]
    assert choose(names, file="depth") == names[2:]


def test_patterns() -> None:
    assert choose(SDXL, file_patterns=("vae_1_0/*",)) == [
        "vae_1_0/config.json",
        "vae_1_0/diffusion_pytorch_model.safetensors",
    ]
    assert refusal(SDXL, file_patterns=("*.md",))[0] == "no_weights"


def test_nothing_to_take() -> None:
    assert refusal([]) == ("no_weights", "lab/repo has no weights: it holds no files.")
    many = [f"{number:02}.png" for number in range(12)]
    assert refusal(many)[1].endswith("07.png and 4 more.")
    assert refusal(["optimizer.bin", "training_args.bin", "scheduler.bin"])[0] == "no_weights"


@pytest.mark.parametrize(
    "name",
    ["../evil.safetensors", "/etc/evil.safetensors", "a/../../evil.safetensors", ".hidden/evil.safetensors"],
)
def test_names_that_lead_elsewhere_are_not_taken(name: str) -> None:
    assert refusal([name])[0] == "no_weights"
    assert refusal([name], file=name)[0] == "file_not_found"


H94 = [
    "README.md",
    "models/image_encoder/config.json",
    "models/image_encoder/model.safetensors",
    "models/image_encoder/pytorch_model.bin",
    "models/ip-adapter_sd15.bin",
    "models/ip-adapter_sd15.safetensors",
    "sdxl_models/image_encoder/config.json",
    "sdxl_models/image_encoder/model.safetensors",
    "sdxl_models/image_encoder/pytorch_model.bin",
    "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors",
    "sdxl_models/ip-adapter_sdxl.safetensors",
]


@pytest.mark.parametrize(
    ("file", "encoder"),
    [
        ("models/ip-adapter_sd15.safetensors", "models"),
        ("sdxl_models/ip-adapter_sdxl.safetensors", "sdxl_models"),
        ("sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors", "models"),
    ],
)
def test_an_ip_adapter_brings_the_encoder_it_sees_with(file: str, encoder: str) -> None:
    beside = [f"{encoder}/image_encoder/config.json", f"{encoder}/image_encoder/model.safetensors"]
    assert choose(H94, file=file) == sorted([file, *beside])
    # Asked for by its digest, or by a pattern, it comes alone.
    assert choose(H94, file=file, expected_sha256="0" * 64) == [file]
    assert choose(H94, file_patterns=(file,)) == [file]


def test_an_ip_adapter_without_an_encoder_beside_it_comes_alone() -> None:
    assert choose(["ip_adapter.safetensors", "workflow.json"]) == ["ip_adapter.safetensors"]
    assert choose([*H94, "ip-adapter-faceid_sd15.bin"], file="ip-adapter-faceid_sd15.bin") == [
        "ip-adapter-faceid_sd15.bin"
    ]
    assert choose(H94, file="models/image_encoder") == H94[1:3]


def test_an_onnx_file_is_taken_where_there_is_nothing_else() -> None:
    assert choose(["README.md", "onnx/model.onnx"]) == ["onnx/model.onnx"]
    assert choose(["onnx/model.onnx", "model.safetensors"]) == ["model.safetensors"]
    assert choose(SDXL, SDXL_INDEX, file="text_encoder/model.onnx") == ["text_encoder/model.onnx"]
    assert refusal(["a.onnx", "b.onnx"])[0] == "choose_file"


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        (["config.json", "unet/a.bin"], "."),
        (["canny/config.json", "canny/model.safetensors"], "canny"),
        (["a/b/c.bin", "a/d/e.bin"], "a"),
        (["models/x/config.json", "sdxl/ip-adapter.bin"], "."),
        ([], "."),
    ],
)
def test_a_model_lies_in_the_deepest_folder_that_holds_it(names: list[str], folder: str) -> None:
    files = tuple(RemoteFile(name=name, url="", size=1) for name in names)
    assert Plan(files=files).folder == folder
