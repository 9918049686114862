"""The same numbers under the names of every trainer come to the same differences of the same layers.

Names are literal, as in files of the field; tiny networks have the block structure of the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gpu_runtime.adapters.lora_metadata import declared_alphas
from gpu_runtime.tiny.pipelines import tiny_pipeline
from tests.gpu_runtime.lora_files import difference, differences, factors, load, write_lora

RANK, ALPHA = 3, 1.5
SCALE = ALPHA / RANK

LDM_XL = {
    "input_blocks.0.0": "conv_in",
    "input_blocks.1.0.in_layers.2": "down_blocks.0.resnets.0.conv1",
    "input_blocks.3.0.op": "down_blocks.0.downsamplers.0.conv",
    "input_blocks.4.0.skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
    "input_blocks.4.1.transformer_blocks.0.attn1.to_q": (
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    ),
    "input_blocks.5.1.proj_in": "down_blocks.1.attentions.1.proj_in",
    "input_blocks.8.0.emb_layers.1": "down_blocks.2.resnets.1.time_emb_proj",
    "middle_block.1.transformer_blocks.0.attn2.to_out.0": (
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"
    ),
    "middle_block.2.out_layers.3": "mid_block.resnets.1.conv2",
    "output_blocks.0.1.transformer_blocks.0.ff.net.0.proj": (
        "up_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj"
    ),
    "output_blocks.2.2.conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks.5.1.transformer_blocks.0.ff.net.2": (
        "up_blocks.1.attentions.2.transformer_blocks.0.ff.net.2"
    ),
    "output_blocks.5.2.conv": "up_blocks.1.upsamplers.0.conv",
    "output_blocks.8.0.skip_connection": "up_blocks.2.resnets.2.conv_shortcut",
    "time_embed.0": "time_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "out.2": "conv_out",
}

LDM_15 = {
    "input_blocks.1.1.transformer_blocks.0.attn2.to_v": (
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v"
    ),
    "input_blocks.8.1.proj_in": "down_blocks.2.attentions.1.proj_in",
    "input_blocks.10.0.in_layers.2": "down_blocks.3.resnets.0.conv1",
    "output_blocks.2.1.conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks.3.1.proj_out": "up_blocks.1.attentions.0.proj_out",
    "output_blocks.11.1.transformer_blocks.0.attn1.to_k": (
        "up_blocks.3.attentions.2.transformer_blocks.0.attn1.to_k"
    ),
}

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"

TEXT = "encoder.layers.1.self_attn"

Q, K, V = "attn.to_q", "attn.to_k", "attn.to_v"
ADDED = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")

FLUX_FUSED = {
    "double_blocks.1.img_attn.qkv": [f"transformer_blocks.1.{name}" for name in (Q, K, V)],
    "double_blocks.0.img_attn.proj": ["transformer_blocks.0.attn.to_out.0"],
    "double_blocks.0.img_mlp.0": ["transformer_blocks.0.ff.net.0.proj"],
    "double_blocks.0.img_mlp.2": ["transformer_blocks.0.ff.net.2"],
    "double_blocks.0.img_mod.lin": ["transformer_blocks.0.norm1.linear"],
    "double_blocks.0.txt_attn.qkv": [f"transformer_blocks.0.{name}" for name in ADDED],
    "double_blocks.0.txt_attn.proj": ["transformer_blocks.0.attn.to_add_out"],
    "double_blocks.0.txt_mlp.0": ["transformer_blocks.0.ff_context.net.0.proj"],
    "double_blocks.0.txt_mlp.2": ["transformer_blocks.0.ff_context.net.2"],
    "double_blocks.0.txt_mod.lin": ["transformer_blocks.0.norm1_context.linear"],
    "single_blocks.1.linear1": [f"single_transformer_blocks.1.{name}" for name in (Q, K, V, "proj_mlp")],
    "single_blocks.0.linear2": ["single_transformer_blocks.0.proj_out"],
    "single_blocks.0.modulation.lin": ["single_transformer_blocks.0.norm.linear"],
    "img_in": ["x_embedder"],
    "txt_in": ["context_embedder"],
    "time_in.in_layer": ["time_text_embed.timestep_embedder.linear_1"],
    "vector_in.out_layer": ["time_text_embed.text_embedder.linear_2"],
    "guidance_in.in_layer": ["time_text_embed.guidance_embedder.linear_1"],
    "final_layer.linear": ["proj_out"],
}

XLABS = {
    "double_blocks.0.processor.qkv_lora1": [f"transformer_blocks.0.{name}" for name in (Q, K, V)],
    "double_blocks.0.processor.proj_lora1": ["transformer_blocks.0.attn.to_out.0"],
    "double_blocks.0.processor.qkv_lora2": [f"transformer_blocks.0.{name}" for name in ADDED],
    "double_blocks.0.processor.proj_lora2": ["transformer_blocks.0.attn.to_add_out"],
    "single_blocks.1.processor.qkv_lora": [f"single_transformer_blocks.1.{name}" for name in (Q, K, V)],
    "single_blocks.1.processor.proj_lora": ["single_transformer_blocks.1.proj_out"],
}

SD3_FUSED = {
    "joint_blocks.0.x_block.attn.qkv": [f"transformer_blocks.0.{name}" for name in (Q, K, V)],
    "joint_blocks.0.x_block.attn2.qkv": [f"transformer_blocks.0.attn2.to_{name}" for name in "qkv"],
    "joint_blocks.0.x_block.attn.proj": ["transformer_blocks.0.attn.to_out.0"],
    "joint_blocks.0.x_block.mlp.fc1": ["transformer_blocks.0.ff.net.0.proj"],
    "joint_blocks.0.x_block.mlp.fc2": ["transformer_blocks.0.ff.net.2"],
    "joint_blocks.0.x_block.adaLN_modulation.1": ["transformer_blocks.0.norm1.linear"],
    "joint_blocks.1.context_block.attn.qkv": [f"transformer_blocks.1.{name}" for name in ADDED],
    "joint_blocks.0.context_block.attn.proj": ["transformer_blocks.0.attn.to_add_out"],
    "joint_blocks.0.context_block.mlp.fc1": ["transformer_blocks.0.ff_context.net.0.proj"],
    "context_embedder": ["context_embedder"],
    "x_embedder.proj": ["pos_embed.proj"],
    "y_embedder.mlp.2": ["time_text_embed.text_embedder.linear_2"],
    "final_layer.linear": ["proj_out"],
}


@pytest.fixture(scope="module")
def pipelines() -> Mapping[str, Any]:
    return {name: tiny_pipeline(name) for name in ("sd15", "sdxl", "flux", "sd3.5-medium")}


def networks_of(pipeline: Any) -> dict[str, Any]:
    return {
        name: part
        for name, part in pipeline.components.items()
        if name in ("unet", "transformer") or name.startswith("text_encoder")
    }


def kohya(stem: str, down: Tensor, up: Tensor, *, prefix: str = "lora_unet_") -> dict[str, Tensor]:
    flat = prefix + stem.replace(".", "_")
    return {
        f"{flat}.lora_down.weight": down,
        f"{flat}.lora_up.weight": up,
        f"{flat}.alpha": torch.tensor(ALPHA),
    }


def product(down: Tensor, up: Tensor, scale: float = SCALE) -> Tensor:
    return (up.flatten(1) @ down.flatten(1) * scale).reshape(up.shape[0], *down.shape[1:])


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert set(found) == set(expected)
    for path, weight in expected.items():
        torch.testing.assert_close(found[path], weight, rtol=1e-6, atol=1e-7, msg=path)


@pytest.mark.parametrize(("family", "names"), [("sdxl", LDM_XL), ("sd15", LDM_15)])
@pytest.mark.parametrize("naming", ["ldm", "diffusers", "dotted"])
def test_kohya_names_of_unet_layers(
    family: str, names: dict[str, str], naming: str, pipelines: Mapping[str, Any], tmp_path: Path
) -> None:
    networks = networks_of(pipelines[family])
    tensors, expected = {}, {}
    for seed, (foreign, path) in enumerate(names.items()):
        down, up = factors(tuple(networks["unet"].get_submodule(path).weight.shape), seed=seed)
        stem = path if naming == "diffusers" else foreign
        named = kohya(stem, down, up)
        if naming == "dotted":
            flat = "lora_unet_" + stem.replace(".", "_")
            named = {key.replace(flat, f"diffusion_model.{stem}"): value for key, value in named.items()}
        tensors |= named
        expected[f"unet/{path}"] = product(down, up)
    assert_same(differences(load(write_lora(tmp_path / "l", tensors), networks)), expected)


@pytest.mark.parametrize(
    "pattern",
    [
        "unet.{path}.lora_{ab}.weight",
        "{path}.lora_{ab}.weight",
        "base_model.model.{path}.lora_{ab}.weight",
        "base_model.model.{path}.lora_{ab}.default.weight",
        "unet.{path}.lora_{ab}.my_style.weight",
        "unet.{path}.lora.{updown}.weight",
        "unet.{old}_lora.{updown}.weight",
        "{old}_lora.{updown}.weight",
        "lora_unet_{flat}.lora_{updown}.weight",
    ],
)
@pytest.mark.parametrize("last", ["to_q", "to_out.0"])
def test_names_of_one_attention_layer(
    pattern: str, last: str, pipelines: Mapping[str, Any], tmp_path: Path
) -> None:
    path = f"{ATTENTION}.{last}"
    networks = networks_of(pipelines["sd15"])
    down, up = factors(tuple(networks["unet"].get_submodule(path).weight.shape))
    old = f"{ATTENTION}.processor.{last.removesuffix('.0')}"

    def name(ab: str, updown: str) -> str:
        return pattern.format(path=path, old=old, flat=path.replace(".", "_"), ab=ab, updown=updown)

    tensors = {name("A", "down"): down, name("B", "up"): up}
    use = load(write_lora(tmp_path / "l", tensors), networks)
    assert_same(differences(use), {f"unet/{path}": product(down, up, 1.0)})


@pytest.mark.parametrize(
    "pattern",
    [
        "lora_te_text_model_{flat}_{last}_proj.lora_{updown}.weight",
        "lora_te1_text_model_{flat}_{last}_proj.lora_{updown}.weight",
        "text_encoder.text_model.{path}.{last}_proj.lora_linear_layer.{updown}.weight",
        "text_encoder.text_model.{path}.to_{last}_lora.{updown}.weight",
        "text_encoder.{path}.{last}_proj.lora_{ab}.weight",
        "text_encoder.text_model.{path}.{last}_proj.lora_{ab}.weight",
        "text_encoders.clip_l.transformer.text_model.{path}.{last}_proj.lora_{ab}.weight",
    ],
)
@pytest.mark.parametrize("last", ["q", "out"])
def test_names_of_one_text_encoder_layer(
    pattern: str, last: str, pipelines: Mapping[str, Any], tmp_path: Path
) -> None:
    networks = networks_of(pipelines["sd15"])
    path = f"{TEXT}.{last}_proj"
    down, up = factors(tuple(networks["text_encoder"].get_submodule(path).weight.shape))

    def name(ab: str, updown: str) -> str:
        return pattern.format(path=TEXT, flat=TEXT.replace(".", "_"), last=last, ab=ab, updown=updown)

    tensors = {name("A", "down"): down, name("B", "up"): up}
    use = load(write_lora(tmp_path / "l", tensors), networks)
    assert_same(differences(use), {f"text_encoder/{path}": product(down, up, 1.0)})


def test_second_text_encoder_has_its_own_prefix(pipelines: Mapping[str, Any], tmp_path: Path) -> None:
    networks = networks_of(pipelines["sdxl"])
    stem = "text_model.encoder.layers.0.mlp.fc1"
    first = factors(tuple(networks["text_encoder"].encoder.layers[0].mlp.fc1.weight.shape), seed=1)
    second = factors(tuple(networks["text_encoder_2"].get_submodule(stem).weight.shape), seed=2)
    projection = factors(tuple(networks["text_encoder_2"].text_projection.weight.shape), seed=3)
    tensors = kohya(stem, *first, prefix="lora_te1_") | kohya(stem, *second, prefix="lora_te2_")
    tensors |= kohya("text_projection", *projection, prefix="lora_te2_")
    expected = {
        "text_encoder/encoder.layers.0.mlp.fc1": product(*first),
        f"text_encoder_2/{stem}": product(*second),
        "text_encoder_2/text_projection": product(*projection),
    }
    assert_same(differences(load(write_lora(tmp_path / "l", tensors), networks)), expected)


@pytest.mark.parametrize(
    ("family", "names", "style"),
    [
        ("flux", FLUX_FUSED, "kohya"),
        ("flux", FLUX_FUSED, "bfl"),
        ("flux", FLUX_FUSED, "bare"),
        ("flux", XLABS, "xlabs"),
        ("sd3.5-medium", SD3_FUSED, "kohya"),
        ("sd3.5-medium", SD3_FUSED, "bfl"),
    ],
)
def test_fused_projections_are_split_by_output_rows(
    family: str, names: dict[str, list[str]], style: str, pipelines: Mapping[str, Any], tmp_path: Path
) -> None:
    networks = networks_of(pipelines[family])
    transformer = networks["transformer"]
    tensors, expected = {}, {}
    for seed, (foreign, paths) in enumerate(names.items()):
        shapes = [transformer.get_submodule(path).weight.shape for path in paths]
        height = sum(shape[0] for shape in shapes)
        down, up = factors((height, *shapes[0][1:]), seed=seed)
        scale = SCALE if style == "kohya" else 1.0
        tensors |= {
            "kohya": kohya(foreign, down, up),
            "bfl": {
                f"diffusion_model.{foreign}.lora_A.weight": down,
                f"diffusion_model.{foreign}.lora_B.weight": up,
            },
            "bare": {f"{foreign}.lora_A.weight": down, f"{foreign}.lora_B.weight": up},
            "xlabs": {f"{foreign}.down.weight": down, f"{foreign}.up.weight": up},
        }[style]
        parts = product(down, up, scale).split([shape[0] for shape in shapes])
        expected |= {f"transformer/{path}": part for path, part in zip(paths, parts, strict=True)}
    assert_same(differences(load(write_lora(tmp_path / "l", tensors), networks)), expected)


@pytest.mark.parametrize("family", ["flux", "sd3.5-medium"])
def test_last_modulation_swaps_shift_and_scale(
    family: str, pipelines: Mapping[str, Any], tmp_path: Path
) -> None:
    networks = networks_of(pipelines[family])
    shape = networks["transformer"].norm_out.linear.weight.shape
    down, up = factors(tuple(shape))
    use = load(write_lora(tmp_path / "l", kohya("final_layer_adaLN_modulation_1", down, up)), networks)
    shift, scale = product(down, up).chunk(2)
    assert_same(differences(use), {"transformer/norm_out.linear": torch.cat([scale, shift])})


def test_text_only_block_of_sd3_swaps_shift_and_scale(pipelines: Mapping[str, Any], tmp_path: Path) -> None:
    networks = networks_of(pipelines["sd3.5-medium"])
    down, up = factors(tuple(networks["transformer"].transformer_blocks[1].norm1_context.linear.weight.shape))
    tensors = kohya("joint_blocks_1_context_block_adaLN_modulation_1", down, up)
    shift, scale = product(down, up).chunk(2)
    expected = {"transformer/transformer_blocks.1.norm1_context.linear": torch.cat([scale, shift])}
    assert_same(differences(load(write_lora(tmp_path / "l", tensors), networks)), expected)


def test_diffusers_names_of_a_transformer(pipelines: Mapping[str, Any], tmp_path: Path) -> None:
    networks = networks_of(pipelines["flux"])
    path = "single_transformer_blocks.0.attn.to_k"
    down, up = factors(tuple(networks["transformer"].get_submodule(path).weight.shape))
    for prefix in ("transformer.", "", "base_model.model.", "diffusion_model."):
        tensors = {f"{prefix}{path}.lora_A.weight": down, f"{prefix}{path}.lora_B.weight": up}
        use = load(write_lora(tmp_path / f"l{prefix}", tensors), networks)
        assert_same(differences(use), {f"transformer/{path}": product(down, up, 1.0)})
    flat = kohya(path, down, up, prefix="lora_transformer_")
    use = load(write_lora(tmp_path / "flat", flat), networks)
    assert_same(differences(use), {f"transformer/{path}": product(down, up)})


@pytest.mark.parametrize(
    ("declared", "scale"),
    [
        ({"unet.r": RANK, "unet.lora_alpha": 6}, 2.0),
        ({"unet.lora_alpha": 6, "unet.use_rslora": True}, 6 / RANK**0.5),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {"attn1.to_q": 12}}, 4.0),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {"attn2.to_q": 12}}, 2.0),
        ({"text_encoder.lora_alpha": 6}, 1.0),
        ([], 1.0),
    ],
)
def test_alpha_in_the_header(
    declared: object, scale: float, pipelines: Mapping[str, Any], tmp_path: Path
) -> None:
    networks = networks_of(pipelines["sd15"])
    path = f"{ATTENTION}.to_q"
    down, up = factors(tuple(networks["unet"].get_submodule(path).weight.shape))
    tensors = {f"unet.{path}.lora_A.weight": down, f"unet.{path}.lora_B.weight": up}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(declared)}
    use = load(write_lora(tmp_path / "l", tensors, metadata=metadata), networks)
    assert_same(differences(use), {f"unet/{path}": product(down, up, scale)})


def test_alphas_of_a_header_as_tensors(pipelines: Mapping[str, Any], tmp_path: Path) -> None:
    """For the store, which keeps no header: the file with them and without its header is the same adapter."""
    networks = networks_of(pipelines["sd15"])
    path = f"{ATTENTION}.to_q"
    down, up = factors(tuple(networks["unet"].get_submodule(path).weight.shape))
    tensors = {f"unet.{path}.lora_A.weight": down, f"unet.{path}.lora_B.weight": up}
    header = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 6, "unet.use_rslora": True})}
    alphas = declared_alphas(header, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    assert alphas == {f"unet.{path}.alpha": pytest.approx(6 * RANK**0.5)}
    stored = tensors | {name: torch.tensor(alpha) for name, alpha in alphas.items()}
    assert_same(
        differences(load(write_lora(tmp_path / "stored", stored), networks)),
        differences(load(write_lora(tmp_path / "l", tensors, metadata=header), networks)),
    )
    assert declared_alphas({}, {name: tuple(tensor.shape) for name, tensor in tensors.items()}) == {}
    assert declared_alphas({"lora_adapter_metadata": "[" * 100_000}, {"a.lora_A.weight": (2, 2)}) == {}


def test_a_layer_under_two_names_counts_once(pipelines: Mapping[str, Any], tmp_path: Path) -> None:
    networks = networks_of(pipelines["sd15"])
    path = f"{ATTENTION}.to_q"
    down, up = factors(tuple(networks["unet"].get_submodule(path).weight.shape))
    tensors = kohya(path, down, up)
    tensors |= {f"unet.{path}.lora_A.weight": down * 2, f"unet.{path}.lora_B.weight": up}
    use = load(write_lora(tmp_path / "l", tensors), networks)
    assert set(differences(use)) == {f"unet/{path}"}


def test_half_precision_numbers_are_read_as_they_are(pipelines: Mapping[str, Any], tmp_path: Path) -> None:
    networks = networks_of(pipelines["sd15"])
    path = f"{ATTENTION}.to_v"
    down, up = (
        part.to(torch.bfloat16) for part in factors(tuple(networks["unet"].get_submodule(path).weight.shape))
    )
    use = load(write_lora(tmp_path / "l", kohya(path, down, up)), networks)
    (delta,) = use.lora.layers["unet"][path]
    assert all(tensor.dtype is torch.float32 for tensor in delta.tensors())
    torch.testing.assert_close(difference(delta), product(down.float(), up.float()))
