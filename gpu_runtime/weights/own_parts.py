"""Networks and tokenizers that diffusers keeps beside a pipeline instead of exporting them. No torch here.

Released model_index.json files name the folder of that pipeline as the library of such a part. Code of
diffusers itself, so as good as what it exports; looked up in this table and nowhere else.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

_KOLORS = "diffusers.pipelines.kolors"
_WUERSTCHEN = "diffusers.pipelines.deprecated.wuerstchen"

OWN_PARTS: Mapping[str, str] = {
    "ChatGLMModel": f"{_KOLORS}.text_encoder",
    "ChatGLMTokenizer": f"{_KOLORS}.tokenizer",
    "LDMBertModel": "diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion",
    "LearnedClassifierFreeSamplingEmbeddings": "diffusers.pipelines.deprecated.vq_diffusion",
    "MultilingualCLIP": "diffusers.pipelines.kandinsky.text_encoder",
    "PaellaVQModel": _WUERSTCHEN,
    "RobertaSeriesModelWithTransformation": "diffusers.pipelines.deprecated.alt_diffusion",
    "StableUnCLIPImageNormalizer": "diffusers.pipelines.stable_diffusion",
    "UnCLIPTextProjModel": "diffusers.pipelines.deprecated.unclip",
    "UNetFlatConditionModel": "diffusers.pipelines.deprecated.versatile_diffusion",
    "UniDiffuserModel": "diffusers.pipelines.deprecated.unidiffuser",
    "UniDiffuserTextDecoder": "diffusers.pipelines.deprecated.unidiffuser",
    "WuerstchenDiffNeXt": _WUERSTCHEN,
    "WuerstchenPrior": _WUERSTCHEN,
}
"""Module of each class."""

OWN_LIBRARIES = frozenset(
    {
        "alt_diffusion",
        "kandinsky",
        "kolors",
        "latent_diffusion",
        "stable_diffusion",
        "unclip",
        "unidiffuser",
        "versatile_diffusion",
        "vq_diffusion",
        "wuerstchen",
    }
)
"""What model_index.json files call the libraries of these parts, besides "diffusers"."""


def own_part(class_name: str) -> Any:  # untyped in diffusers
    """The class itself. Raises KeyError for one that is not in the table."""
    return getattr(importlib.import_module(OWN_PARTS[class_name]), class_name)
