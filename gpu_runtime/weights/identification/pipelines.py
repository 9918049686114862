"""Folders in diffusers' layout: model_index.json names the classes, each component has a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu_runtime.errors import NotRecognised, WeightsCorrupt
from gpu_runtime.weights.family_facts import FAMILY_FACTS, facts_of
from gpu_runtime.weights.identification.contents import Contents, component_facts
from gpu_runtime.weights.identification.hints import few_steps
from gpu_runtime.weights.identification.reading import open_files
from gpu_runtime.weights.identification.said import clean
from gpu_runtime.weights.identification.weight_files import read_json, versions
from gpu_runtime.weights.own_parts import OWN_LIBRARIES
from gpu_runtime.weights.refused_pipelines import REFUSED_PIPELINES, SAME_COMPONENTS
from gpu_runtime.weights.taxonomy import ComponentFacts, Detail, FileFormat, Identified, ModelKind

_NO_NETWORKS = (
    "Tokenizer",
    "TokenizerFast",
    "Scheduler",
    "Processor",
    "FeatureExtractor",
    "SafetyChecker",
    "Guidance",
)
"""Ends of class names that have no weights, or none that are kept."""

_OWN_CODE_LIBRARIES = OWN_LIBRARIES | {"diffusers", "transformers", "onnxruntime", "flux"}

OTHER_TASKS = {
    "StableDiffusionImg2ImgPipeline": "sd15",
    "StableDiffusionInstructPix2PixPipeline": "sd15",
    "LatentConsistencyModelPipeline": "sd15",
    "StableDiffusionXLInstructPix2PixPipeline": "sdxl",
    "FluxImg2ImgPipeline": "flux",
    "FluxInpaintPipeline": "flux",
    "StableDiffusion3Img2ImgPipeline": "sd3",
    "StableDiffusion3InpaintPipeline": "sd3",
}
"""Pipelines for another task over the same components."""

_BY_CLASS = {
    "SanaSprintPipeline": "sprint",
    "Flux2KleinPipeline": "klein",
    "Flux2KleinKVPipeline": "klein",
    "DreamLiteMobilePipeline": "mobile",
    "LongCatImageEditPipeline": "edit",
    "PRXPixelPipeline": "pixel",
    "QwenImageEditPipeline": "edit",
    "QwenImageEditPlusPipeline": "edit",
    "ZImageOmniPipeline": "omni",
}
"""Variants with a pipeline of their own."""


def identify_pipeline(folder: Path, index: Mapping[str, Any]) -> Identified:
    """A checkpoint in diffusers' layout. Raises NotRecognised for other pipelines, WeightsCorrupt."""
    class_name = index.get("_class_name")
    if not isinstance(class_name, str):
        raise NotRecognised(f"{folder.name} needs program code of its own, which is never run")
    if reason := REFUSED_PIPELINES.get(class_name):
        raise NotRecognised(f"{folder.name} does not run here: {class_name} {reason}")
    family = _family_of(SAME_COMPONENTS.get(class_name, class_name))
    if not family:
        raise NotRecognised(f"{folder.name} is for {class_name}, which no family here runs")
    components = tuple(_components(folder, index))
    configs = {each.name: read_json(folder / each.name / "config.json") for each in components}
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    if family == "sd15" and _is_sd2(configs):
        family = "sd2"
    words = Contents(path=folder / "model_index.json", tensors={}, size_bytes=0)
    details: dict[str, Detail] = {"pipeline_class": class_name}
    if isinstance(scheduler.get("prediction_type"), str):
        details["prediction_type"] = clean(scheduler["prediction_type"])
    absent = tuple(name for name in ("text_encoder", "vae") if index.get(name) == [None, None])
    variant = _variant(family, class_name, configs, scheduler, words, is_refiner="text_encoder" in absent)
    return Identified(
        kind=ModelKind.CHECKPOINT,
        family=family,
        variant=variant,
        file_format=FileFormat.DIFFUSERS,
        components=components,
        size_bytes=sum(each.size_bytes for each in components),
        details=details,
    )


def with_details(answer: Identified, **details: Detail) -> Identified:
    """The same answer with further details."""
    return replace(answer, details={**answer.details, **details})


def _family_of(class_name: str) -> str:
    for family, facts in FAMILY_FACTS.items():
        if class_name in facts.pipeline_classes:
            return family
    return OTHER_TASKS.get(class_name, "")


def _components(folder: Path, index: Mapping[str, Any]) -> list[ComponentFacts]:
    """Facts of every network the index names. Raises WeightsCorrupt for one without weights."""
    found = []
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list):
            continue
        if not all(each is None or isinstance(each, str) for each in entry):
            continue  # a setting, such as the layers of a text encoder that are used
        if len(entry) != 2:
            raise WeightsCorrupt(f"{folder.name}: model_index.json is damaged at {name!r}")
        library, class_name = entry
        if class_name is None or class_name.endswith(_NO_NETWORKS):
            continue
        if library not in _OWN_CODE_LIBRARIES:
            raise NotRecognised(f"{folder.name} needs program code of its own for {name}, which is never run")
        found.append(_component(folder, name, class_name))
    if not found:
        raise WeightsCorrupt(f"{folder.name}: model_index.json names no network")
    return found


def _component(folder: Path, name: str, class_name: str) -> ComponentFacts:
    inner = folder / name
    if Path(name).name != name or not inner.is_dir():
        raise WeightsCorrupt(f"{folder.name} is incomplete: the folder {name} is missing; fetch it again")
    if not (inner / "config.json").is_file():
        raise WeightsCorrupt(f"{folder.name} is incomplete: {name}/config.json is missing; fetch it again")
    found = versions(inner)
    if not found:
        raise WeightsCorrupt(f"{folder.name} is incomplete: {name} has no weights; fetch it again")
    contents = open_files(found[0], {})
    return component_facts(name, class_name, list(contents.tensors.values()))


def _is_sd2(configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """SD 1 has OpenAI's text encoder with its own activation; SD 2 enters attention through matrices."""
    if configs.get("text_encoder", {}).get("hidden_act") == "quick_gelu":
        return False
    return configs.get("unet", {}).get("use_linear_projection") is True


def _variant(
    family: str,
    class_name: str,
    configs: Mapping[str, Mapping[str, Any]],
    scheduler: Mapping[str, Any],
    words: Contents,
    *,
    is_refiner: bool,
) -> str:
    if family in ("sd15", "sd2", "sdxl"):
        if family == "sdxl" and is_refiner:
            return "refiner"
        channels = configs.get("unet", {}).get("in_channels", 4)
        special = {5: "depth", 8: "pix2pix", 9: "inpaint"}.get(channels, "")
        return special or _distilled(family, scheduler, words) or "base"
    transformer = configs.get("transformer", {})
    if family == "sd3":
        if few := few_steps(words, family):
            return few
        if not transformer.get("qk_norm"):
            return "medium"
        return "3.5-medium" if transformer.get("dual_attention_layers") else "3.5-large"
    if family == "flux":
        return _flux_variant(class_name, transformer)
    return _BY_CLASS.get(class_name, "") or few_steps(words, family)


def _distilled(family: str, scheduler: Mapping[str, Any], words: Contents) -> str:
    """Few-step distillations, by their noise scheduler's settings or their name."""
    facts = facts_of(family)
    known = facts.variants if facts is not None and facts.variants else {}
    by_scheduler = ""
    if scheduler.get("_class_name") == "LCMScheduler":
        by_scheduler = "lcm"
    elif scheduler.get("timestep_spacing") == "trailing":
        is_ancestral = scheduler.get("_class_name") == "EulerAncestralDiscreteScheduler"
        by_scheduler = "turbo" if is_ancestral else "lightning"
    return few_steps(words, family) or (by_scheduler if by_scheduler in known else "")


def _flux_variant(class_name: str, transformer: Mapping[str, Any]) -> str:
    if "Kontext" in class_name:
        return "kontext"
    given = transformer.get("in_channels", 64)
    made = transformer.get("out_channels") or 64
    if given != made:
        return {2: "control", 6: "fill"}.get(given // made, "")
    return "dev" if transformer.get("guidance_embeds") else "schnell"
