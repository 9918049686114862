"""Text encoders: from transformers' names to those of the original single files.

CLIP-L keeps transformers' names under a prefix; the larger OpenCLIP encoders of SD 2 and SDXL have fused
projections of their own; T5 is stored once, without the tied copy of its embedding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

StateDict = Mapping[str, Tensor]

_LAYER = re.compile(r"text_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_OPENCLIP_LAYER = {
    "layer_norm1": "ln_1.{leaf}",
    "layer_norm2": "ln_2.{leaf}",
    "mlp.fc1": "mlp.c_fc.{leaf}",
    "mlp.fc2": "mlp.c_proj.{leaf}",
    "self_attn.out_proj": "attn.out_proj.{leaf}",
    "self_attn.q_proj": "attn.in_proj_{leaf}",
    "self_attn.k_proj": "attn.in_proj_{leaf}",
    "self_attn.v_proj": "attn.in_proj_{leaf}",
}
_FUSED = {"self_attn.q_proj": 0, "self_attn.k_proj": 1, "self_attn.v_proj": 2}
_OPENCLIP_TOP = {
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}


def with_text_model(encoder: StateDict) -> dict[str, Tensor]:
    """CLIP tensors under `text_model.`, which newer transformers leave out for CLIPTextModel."""
    return {
        name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": tensor
        for name, tensor in encoder.items()
    }


def clip_to_original(encoder: StateDict) -> dict[str, Tensor]:
    """CLIP-L as single files hold it, without prefix: transformers' names, position_ids left out."""
    return {name: t for name, t in with_text_model(encoder).items() if not name.endswith("position_ids")}


def clip_to_openclip(encoder: StateDict) -> dict[str, Tensor]:
    """A CLIP text encoder in OpenCLIP's layout, without prefix.

    Query, key and value are one fused projection, the text projection is transposed; an encoder without one
    gets the identity, as the files of SD 2 carry one that nothing reads. Raises KeyError for other names.
    """
    original: dict[str, Tensor] = {}
    fused: dict[str, dict[int, Tensor]] = {}
    tensors = clip_to_original(encoder)
    for name, tensor in tensors.items():
        if name in _OPENCLIP_TOP:
            original[_OPENCLIP_TOP[name]] = tensor
        elif name == "text_projection.weight":
            original["text_projection"] = tensor.T.contiguous()
        elif match := _LAYER.fullmatch(name):
            renamed = f"transformer.resblocks.{match[1]}." + _OPENCLIP_LAYER[match[2]].format(leaf=match[3])
            if match[2] in _FUSED:
                fused.setdefault(renamed, {})[_FUSED[match[2]]] = tensor
            else:
                original[renamed] = tensor
        else:
            raise KeyError(f"{name} has no place in OpenCLIP's layout")
    original |= {name: torch.cat([parts[0], parts[1], parts[2]]) for name, parts in fused.items()}
    width = original["ln_final.weight"]
    if "text_projection" not in original:
        original["text_projection"] = torch.eye(width.shape[0], dtype=width.dtype, device=width.device)
    original["logit_scale"] = torch.full((), 4.6052, dtype=width.dtype, device=width.device)
    return original


def t5_to_original(encoder: StateDict) -> dict[str, Tensor]:
    """A T5 encoder as single files hold it: the embedding once, as `shared.weight`."""
    shared = (
        encoder["shared.weight"] if "shared.weight" in encoder else encoder["encoder.embed_tokens.weight"]
    )
    rest = {
        name: t for name, t in encoder.items() if name not in {"shared.weight", "encoder.embed_tokens.weight"}
    }
    return {"shared.weight": shared} | rest
