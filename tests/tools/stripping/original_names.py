"""Original layouts of transformers that the appliance only ever reads: the inverse of diffusers' converters.

Each is checked when it is used: diffusers' own converter must give back the names and shapes it came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from diffusers.loaders import single_file_utils as theirs

State = dict[str, torch.Tensor]


def _renamed(state: State, rules: Mapping[str, str]) -> State:
    return {_rename(name, rules): tensor for name, tensor in state.items()}


def _rename(name: str, rules: Mapping[str, str]) -> str:
    for pattern, replacement in rules.items():
        name = re.sub(pattern, replacement, name)
    return name


def _fused(state: State, parts: tuple[str, ...], fused: str) -> State:
    """Join tensors whose names differ in `parts` alone, one below the other."""
    joined: State = {}
    for name, tensor in state.items():
        if parts[0] in name:
            siblings = [state[name.replace(parts[0], part)] for part in parts]
            joined[name.replace(parts[0], fused)] = torch.cat(siblings)
        elif not any(part in name for part in parts[1:]):
            joined[name] = tensor
    return joined


def flux2(state: State) -> State:
    state = _fused(state, (".attn.to_q.", ".attn.to_k.", ".attn.to_v."), ".img_attn.qkv.")
    state = _fused(state, (".attn.add_q_proj.", ".attn.add_k_proj.", ".attn.add_v_proj."), ".txt_attn.qkv.")
    return _renamed(
        state,
        {
            r"^x_embedder": "img_in",
            r"^context_embedder": "txt_in",
            r"^time_guidance_embed\.timestep_embedder\.linear_1": "time_in.in_layer",
            r"^time_guidance_embed\.timestep_embedder\.linear_2": "time_in.out_layer",
            r"^time_guidance_embed\.guidance_embedder\.linear_1": "guidance_in.in_layer",
            r"^time_guidance_embed\.guidance_embedder\.linear_2": "guidance_in.out_layer",
            r"_modulation(_img|_txt)?\.linear": r"_modulation\1.lin",
            r"^norm_out\.linear": "final_layer.adaLN_modulation.1",
            r"^proj_out": "final_layer.linear",
            r"^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight": (
                r"single_blocks.\1.norm.query_norm.scale"
            ),
            r"^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight": (
                r"single_blocks.\1.norm.key_norm.scale"
            ),
            r"^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj": r"single_blocks.\1.linear1",
            r"^single_transformer_blocks\.(\d+)\.attn\.to_out": r"single_blocks.\1.linear2",
            r"^transformer_blocks": "double_blocks",
            r"\.attn\.norm_q\.weight": ".img_attn.norm.query_norm.scale",
            r"\.attn\.norm_k\.weight": ".img_attn.norm.key_norm.scale",
            r"\.attn\.norm_added_q\.weight": ".txt_attn.norm.query_norm.scale",
            r"\.attn\.norm_added_k\.weight": ".txt_attn.norm.key_norm.scale",
            r"\.attn\.to_out\.0": ".img_attn.proj",
            r"\.attn\.to_add_out": ".txt_attn.proj",
            r"\.ff\.linear_in": ".img_mlp.0",
            r"\.ff\.linear_out": ".img_mlp.2",
            r"\.ff_context\.linear_in": ".txt_mlp.0",
            r"\.ff_context\.linear_out": ".txt_mlp.2",
        },
    )


def z_image(state: State) -> State:
    state = _fused(state, (".attention.to_q.", ".attention.to_k.", ".attention.to_v."), ".attention.qkv.")
    return _renamed(
        state,
        {
            r"^all_final_layer\.2-1": "final_layer",
            r"^all_x_embedder\.2-1": "x_embedder",
            r"\.attention\.to_out\.0\.": ".attention.out.",
            r"\.attention\.norm_k\.": ".attention.k_norm.",
            r"\.attention\.norm_q\.": ".attention.q_norm.",
        },
    )


def lumina2(state: State) -> State:
    state = _fused(state, (".attn.to_q.", ".attn.to_k.", ".attn.to_v."), ".attention.qkv.")
    return _renamed(
        state,
        {
            r"^time_caption_embed\.caption_embedder": "cap_embedder",
            r"^time_caption_embed\.timestep_embedder\.linear_1": "t_embedder.mlp.0",
            r"^time_caption_embed\.timestep_embedder\.linear_2": "t_embedder.mlp.2",
            r"^norm_out\.linear_1": "final_layer.adaLN_modulation.1",
            r"^norm_out\.linear_2": "final_layer.linear",
            r"\.attn\.to_out\.0\.": ".attention.out.",
            r"\.attn\.norm_k\.": ".attention.k_norm.",
            r"\.attn\.norm_q\.": ".attention.q_norm.",
            r"^context_refiner\.(\d+)\.norm1\.": r"context_refiner.\1.attention_norm1.",
            r"\.norm1\.norm\.": ".attention_norm1.",
            r"\.norm1\.linear\.": ".adaLN_modulation.1.",
            r"\.norm2\.": ".attention_norm2.",
            r"\.linear_([123])\.": r".w\1.",
        },
    )


def sana(state: State) -> State:
    state = _fused(state, (".attn1.to_q.", ".attn1.to_k.", ".attn1.to_v."), ".attn.qkv.")
    state = _fused(state, (".attn2.to_k.", ".attn2.to_v."), ".cross_attn.kv_linear.")
    state = _renamed(
        state,
        {
            r"^patch_embed\.proj": "x_embedder.proj",
            r"^time_embed\.emb\.timestep_embedder\.linear_1": "t_embedder.mlp.0",
            r"^time_embed\.emb\.timestep_embedder\.linear_2": "t_embedder.mlp.2",
            r"^time_embed\.linear": "t_block.1",
            r"^caption_projection\.linear_": "y_embedder.y_proj.fc",
            r"^caption_norm": "attention_y_norm",
            r"^scale_shift_table": "final_layer.scale_shift_table",
            r"^proj_out": "final_layer.linear",
            r"^transformer_blocks": "blocks",
            r"\.attn1\.to_out\.0": ".attn.proj",
            r"\.attn2\.to_q": ".cross_attn.q_linear",
            r"\.attn2\.to_out\.0": ".cross_attn.proj",
            r"\.ff\.conv_inverted": ".mlp.inverted_conv.conv",
            r"\.ff\.conv_depth": ".mlp.depth_conv.conv",
            r"\.ff\.conv_point": ".mlp.point_conv.conv",
        },
    )
    # Two tensors that the released files have and diffusers drops.
    state["pos_embed"] = torch.empty((1, 1024, 2240), device="meta")
    state["y_embedder.y_embedding"] = torch.empty((300, 2304), device="meta")
    return state


def auraflow(state: State) -> State:
    rules = {
        r"^time_step_proj\.linear_1": "t_embedder.mlp.0",
        r"^time_step_proj\.linear_2": "t_embedder.mlp.2",
        r"^context_embedder": "cond_seq_linear",
        r"^proj_out": "final_linear",
        r"^norm_out\.linear": "modF.1",
        r"^pos_embed\.pos_embed": "positional_encoding",
        r"^pos_embed\.proj": "init_x_linear",
        r"\.(ff|ff_context|mlp)\.linear_1": r".\1.c_fc1",
        r"\.(ff|ff_context|mlp)\.linear_2": r".\1.c_fc2",
        r"\.out_projection": ".c_proj",
        r"^single_transformer_blocks\.(\d+)\.norm1\.linear": r"single_layers.\1.modCX.1",
        r"^single_transformer_blocks\.(\d+)\.ff": r"single_layers.\1.mlp",
        r"^single_transformer_blocks\.(\d+)\.attn\.to_([qkv])": r"single_layers.\1.attn.w1\2",
        r"^single_transformer_blocks\.(\d+)\.attn\.to_out\.0": r"single_layers.\1.attn.w1o",
        r"^joint_transformer_blocks": "double_layers",
        r"\.norm1_context\.linear": ".modC.1",
        r"\.norm1\.linear": ".modX.1",
        r"\.ff_context\.": ".mlpC.",
        r"\.ff\.": ".mlpX.",
        r"\.attn\.to_([qkv])\.": r".attn.w2\1.",
        r"\.attn\.to_out\.0": ".attn.w2o",
        r"\.attn\.add_([qkv])_proj": r".attn.w1\1",
        r"\.attn\.to_add_out": ".attn.w1o",
    }
    return _renamed(state, rules)


def chroma(state: State) -> State:
    """FLUX.1's blocks without their modulation, which one small network gives for all of them."""
    state = _fused(state, (".attn.add_q_proj.", ".attn.add_k_proj.", ".attn.add_v_proj."), ".txt_attn.qkv.")
    single = (".attn.to_q.", ".attn.to_k.", ".attn.to_v.", ".proj_mlp.")
    alone = {name: tensor for name, tensor in state.items() if name.startswith("single_transformer_blocks.")}
    both = {name: tensor for name, tensor in state.items() if name not in alone}
    state = _fused(both, single[:3], ".img_attn.qkv.") | _fused(alone, single, ".linear1.")
    return _renamed(
        state,
        {
            r"^x_embedder": "img_in",
            r"^context_embedder": "txt_in",
            r"^proj_out": "final_layer.linear",
            r"^distilled_guidance_layer\.layers\.(\d+)\.linear_1": (
                r"distilled_guidance_layer.layers.\1.in_layer"
            ),
            r"^distilled_guidance_layer\.layers\.(\d+)\.linear_2": (
                r"distilled_guidance_layer.layers.\1.out_layer"
            ),
            r"^distilled_guidance_layer\.norms\.(\d+)\.weight": r"distilled_guidance_layer.norms.\1.scale",
            r"^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight": (
                r"single_blocks.\1.norm.query_norm.scale"
            ),
            r"^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight": (
                r"single_blocks.\1.norm.key_norm.scale"
            ),
            r"^single_transformer_blocks\.(\d+)\.proj_out": r"single_blocks.\1.linear2",
            r"^single_transformer_blocks": "single_blocks",
            r"^transformer_blocks": "double_blocks",
            r"\.attn\.norm_q\.weight": ".img_attn.norm.query_norm.scale",
            r"\.attn\.norm_k\.weight": ".img_attn.norm.key_norm.scale",
            r"\.attn\.norm_added_q\.weight": ".txt_attn.norm.query_norm.scale",
            r"\.attn\.norm_added_k\.weight": ".txt_attn.norm.key_norm.scale",
            r"\.attn\.to_out\.0": ".img_attn.proj",
            r"\.attn\.to_add_out": ".txt_attn.proj",
            r"\.ff\.net\.0\.proj": ".img_mlp.0",
            r"\.ff\.net\.2": ".img_mlp.2",
            r"\.ff_context\.net\.0\.proj": ".txt_mlp.0",
            r"\.ff_context\.net\.2": ".txt_mlp.2",
        },
    )


def unchanged(state: State) -> State:
    """HiDream and Qwen-Image were published by the names diffusers took over."""
    return dict(state)


_PAIRS: Mapping[str, tuple[Callable[[State], State], Callable[..., State]]] = {
    "flux2": (flux2, theirs.convert_flux2_transformer_checkpoint_to_diffusers),
    "z-image": (z_image, theirs.convert_z_image_transformer_checkpoint_to_diffusers),
    "lumina2": (lumina2, theirs.convert_lumina2_to_diffusers),
    "sana": (sana, theirs.convert_sana_transformer_to_diffusers),
    "auraflow": (auraflow, theirs.convert_auraflow_transformer_checkpoint_to_diffusers),
    "chroma": (chroma, theirs.convert_chroma_transformer_checkpoint_to_diffusers),
    "hidream": (unchanged, theirs.convert_hidream_transformer_to_diffusers),
    "qwen-image": (unchanged, dict),
}


def to_original(family: str, state: State, prefix: str = "") -> State:
    """The transformer by its original names. Raises ValueError where diffusers does not read them back."""
    ours, back = _PAIRS[family]
    original = ours(state)
    returned = {name: tensor.shape for name, tensor in back(dict(original)).items() if tensor is not None}
    expected = {name: tensor.shape for name, tensor in state.items()}
    if returned != expected:
        odd = sorted(set(returned.items()) ^ set(expected.items()))[:4]
        raise ValueError(f"{family}: the original layout does not come back: {odd}")
    return {prefix + name: tensor for name, tensor in original.items()}
