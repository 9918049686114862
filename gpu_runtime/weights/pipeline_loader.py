"""Makes a whole diffusers pipeline from a checkpoint's folder. Never touches the network, nor runs its code.

What model_index.json names is looked up in closed lists: the pipelines the caller allows, and COMPONENTS, in
the two libraries and OWN_PARTS. Automatic classes are not among them, since those may follow a checkpoint to
code of its own.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.samplers import read_scheduler_values
from gpu_runtime.weights.loader import component_entries, load_module, read_index
from gpu_runtime.weights.own_parts import OWN_LIBRARIES, OWN_PARTS, own_part
from gpu_runtime.weights.processors import PICTURE_READERS, PROCESSORS, read_processor

LIBRARIES = ("diffusers", "transformers")

NETWORKS = frozenset(
    {
        "AuraFlowTransformer2DModel",
        "AutoencoderDC",
        "AutoencoderKL",
        "AutoencoderKLFlux2",
        "AutoencoderKLHunyuanImage",
        "AutoencoderKLQwenImage",
        "AutoencoderKLQwenImage21",
        "AutoencoderKLWan",
        "AutoencoderTiny",
        "BertModel",
        "BriaFibo2Transformer2DModel",
        "BriaFiboTransformer2DModel",
        "BriaTransformer2DModel",
        "CLIPTextModel",
        "CLIPTextModelWithProjection",
        "CLIPVisionModelWithProjection",
        "ChromaTransformer2DModel",
        "CogView3PlusTransformer2DModel",
        "CogView4Transformer2DModel",
        "DreamLiteUNetModel",
        "ErnieImageTransformer2DModel",
        "Flux2Transformer2DModel",
        "Gemma2Model",
        "GemmaModel",
        "GlmModel",
        "HiDreamImageTransformer2DModel",
        "HunyuanDiT2DModel",
        "HunyuanImageTransformer2DModel",
        "Ideogram4Transformer2DModel",
        "Kandinsky3UNet",
        "Kandinsky5Transformer3DModel",
        "Krea2Transformer2DModel",
        "LlamaForCausalLM",
        "LongCatImageTransformer2DModel",
        "Lumina2Transformer2DModel",
        "LuminaNextDiT2DModel",
        "Mistral3ForConditionalGeneration",
        "Mistral3Model",
        "NucleusMoEImageTransformer2DModel",
        "OvisImageTransformer2DModel",
        "PRXTransformer2DModel",
        "PixArtTransformer2DModel",
        "PriorTransformer",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen3ForCausalLM",
        "Qwen3Model",
        "Qwen3VLForConditionalGeneration",
        "Qwen3VLModel",
        "QwenImage21Transformer2DModel",
        "QwenImageTransformer2DModel",
        "SanaTransformer2DModel",
        "Siglip2VisionModel",
        "SmolLM3ForCausalLM",
        "StableCascadeUNet",
        "T5EncoderModel",
        "T5GemmaEncoder",
        "Transformer2DModel",
        "UMT5EncoderModel",
        "UNet2DConditionModel",
        "UNet2DModel",
        "UVit2DModel",
        "VQModel",
        "ZImageTransformer2DModel",
    }
)

TOKENIZERS = frozenset(
    {
        "BertTokenizer",
        "ByT5Tokenizer",
        "CLIPTokenizer",
        "CLIPTokenizerFast",
        "GemmaTokenizer",
        "GemmaTokenizerFast",
        "LlamaTokenizer",
        "LlamaTokenizerFast",
        "PixtralProcessor",
        "PreTrainedTokenizerFast",
        "Qwen2Tokenizer",
        "Qwen2TokenizerFast",
        "T5Tokenizer",
        "T5TokenizerFast",
        "TokenizersBackend",
        "XLMRobertaTokenizer",
        "XLMRobertaTokenizerFast",
    }
)

NOISE_SCHEDULERS = frozenset(
    {
        "AmusedScheduler",
        "CogVideoXDDIMScheduler",
        "CogVideoXDPMScheduler",
        "DDIMScheduler",
        "DDPMScheduler",
        "DDPMWuerstchenScheduler",
        "DPMSolverMultistepScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "FlowMatchEulerDiscreteScheduler",
        "FlowMatchHeunDiscreteScheduler",
        "HeunDiscreteScheduler",
        "LMSDiscreteScheduler",
        "PNDMScheduler",
        "SCMScheduler",
        "UnCLIPScheduler",
        "UniPCMultistepScheduler",
        "VQDiffusionScheduler",
    }
)

GUIDERS = frozenset({"AdaptiveProjectedMixGuidance"})

READERS = PROCESSORS.keys() | PICTURE_READERS.keys()

COMPONENTS = NETWORKS | TOKENIZERS | NOISE_SCHEDULERS | GUIDERS | READERS | OWN_PARTS.keys()

TEXT_SIDES = {"PixtralProcessor": "PreTrainedTokenizerFast"}
"""Processors of text and pictures need a package that the appliance does without. The tokenizer in the same
folder makes the same tokens of a text."""

DISPENSABLE = frozenset(
    {
        "clip_image_processor",
        "feature_extractor",
        "image_encoder",
        "pe",
        "pe_tokenizer",
        "prior_feature_extractor",
        "prior_image_processor",
        "prompt_enhancer_head",
        "safety_checker",
        "text_tokenizer",
        "watermarker",
    }
)
"""Components that making an image of a text never needs; they are left out, as the pipelines allow."""


INDISPENSABLE = {"UniDiffuserPipeline": frozenset({"image_encoder"})}
"""What a pipeline cannot be made without although it has no use for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPipeline:
    """A pipeline with all its components on the device."""

    class_name: str
    """In the caller's spelling."""
    pipeline: Any
    """Any: untyped in diffusers."""


def load_pipeline(
    folder: Path,
    allowed: Collection[str],
    *,
    dtype: torch.dtype,
    device: torch.device,
    renamed: Mapping[str, str] | None = None,
) -> LoadedPipeline:
    """The pipeline of a folder; `allowed` are the class names that may be made, `renamed` leads to them.

    Raises CheckpointMissing, WeightsCorrupt, or UnsupportedCombination for what is in no list or not
    installed.
    """
    index = read_index(folder)
    class_name = _class_name(folder, index, allowed, renamed or {})
    pipeline_class = _installed(getattr(diffusers, class_name))
    wanted = set(inspect.signature(pipeline_class.__init__).parameters)
    entries = component_entries(index)
    values: dict[str, Any] = {name: value for name, value in index.items() if name in wanted}
    left_out = DISPENSABLE - INDISPENSABLE.get(class_name, frozenset())
    for name in values.keys() & entries.keys():
        library, component = (None, None) if name in left_out else entries[name]
        values[name] = _component(folder, name, library, component, dtype=dtype, device=device)
    try:
        pipeline = pipeline_class(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise WeightsCorrupt(f"the parts in {folder} make no {class_name}: {error}") from error
    except ImportError as error:
        raise UnsupportedCombination(
            f"{class_name} needs a package that is not installed: {error}"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return LoadedPipeline(class_name=class_name, pipeline=pipeline)


def _class_name(
    folder: Path, index: Mapping[str, Any], allowed: Collection[str], renamed: Mapping[str, str]
) -> str:
    named = index.get("_class_name")
    class_name = renamed.get(named, named) if isinstance(named, str) else None
    if class_name not in allowed:
        raise UnsupportedCombination(f"{folder} is for {named!r}, which is no pipeline that runs here")
    return str(class_name)


def _component(
    folder: Path,
    name: str,
    library: str | None,
    class_name: str | None,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> Any:  # a network, tokenizer or noise scheduler: untyped in both libraries
    if class_name is None:
        return None
    component_class = _class_of(library, class_name)
    if component_class is None:
        raise UnsupportedCombination(
            f"component {name} of {folder} is a {library}.{class_name}, unknown here"
        )
    subfolder = folder / name
    if not subfolder.is_dir():
        raise CheckpointMissing(f"{folder} has no component {name!r}")
    if issubclass(component_class, nn.Module):
        return load_module(component_class, subfolder, dtype=dtype, device=device)
    if class_name in NOISE_SCHEDULERS and (subfolder / "scheduler_config.json").is_file():
        read_scheduler_values(subfolder / "scheduler_config.json")
    try:
        if class_name in READERS:
            return read_processor(class_name, subfolder)
        return component_class.from_pretrained(str(subfolder), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsCorrupt(f"{subfolder} could not be loaded: {error}") from error
    except ImportError as error:
        raise UnsupportedCombination(f"{subfolder} needs a package that is not installed: {error}") from error


def _class_of(library: str | None, class_name: str) -> Any | None:  # Any: untyped in both libraries
    """The class of a component, None for what is in no list.

    Raises UnsupportedCombination when it is not installed.
    """
    if class_name not in COMPONENTS:
        return None
    if class_name in OWN_PARTS and library in (*LIBRARIES, *OWN_LIBRARIES):
        return _installed(own_part(class_name))
    if library not in LIBRARIES:
        return None
    named = TEXT_SIDES.get(class_name, class_name)
    return _installed(getattr(importlib.import_module(library), named, None))


def _installed(found: Any) -> Any:
    """The class itself; the libraries put a placeholder where a package is missing. Raises accordingly."""
    missing = getattr(found, "_backends", None)
    if missing:
        needs = ", ".join(missing)
        raise UnsupportedCombination(f"{found.__name__} needs packages that are not installed ({needs})")
    return found
