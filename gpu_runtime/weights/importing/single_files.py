"""Checkpoints in one file, in the layouts of the original trainers. Nothing is ever fetched.

Configurations are the shipped ones with what the shapes say; the CLIP vocabulary is shipped. T5's is not: T5
encoders and their tokenizers come from a donor, a checkpoint of the family that is in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.weights.family_facts import facts_of
from gpu_runtime.weights.importing.checkpoints import canonical_index, place_checkpoint
from gpu_runtime.weights.importing.classes import find_class
from gpu_runtime.weights.importing.components import (
    Component,
    Writing,
    require_disk,
    write_clip_tokenizer,
    write_network,
    write_scheduler,
)
from gpu_runtime.weights.importing.components import plan_of as plan_storage
from gpu_runtime.weights.importing.configs import Config, read_json, shipped_folder
from gpu_runtime.weights.importing.donors import find_donated
from gpu_runtime.weights.importing.job import Imported, ImportJob
from gpu_runtime.weights.importing.layouts import Part, layout_of, tensors_of
from gpu_runtime.weights.importing.lazy_tensors import numbers
from gpu_runtime.weights.importing.networks import build_empty, fit
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.importing.sources import Tensors, open_weights
from gpu_runtime.weights.importing.writer import stored_bytes
from gpu_runtime.weights.taxonomy import Identified

CLIP_VOCABULARY = 49408
EPSILON_STEP = 875_000
"""Training step of SD 2's first release, the only one of its files that says so and predicts noise."""

_SCALING = (".scale_weight", ".scale_input", "scaled_fp8")
"""Names that ComfyUI's scaled float8 files add."""

T5_TOKENIZERS = ("T5TokenizerFast", "T5Tokenizer")

PIPELINES: Mapping[tuple[str, str], str] = {
    ("sd15", "pix2pix"): "StableDiffusionInstructPix2PixPipeline",
    ("sd2", "pix2pix"): "StableDiffusionInstructPix2PixPipeline",
    ("sdxl", "pix2pix"): "StableDiffusionXLInstructPix2PixPipeline",
    ("flux", "control"): "FluxControlPipeline",
}
"""Where a variant has the configurations of another one and a pipeline of its own."""

_DROPPED_WHEN_MISSING = {("sd3", "text_encoder_3"), ("sd3", "tokenizer_3")}
"""SD 3 makes images without T5, which understand long prompts less well."""


Wanted = list[tuple[str, tuple[str, ...]]]
"""Names of components, and the classes that will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """One part that was checked and can be written."""

    part: Part
    module: Any
    """Without memory. Any: untyped in both libraries."""
    config: Config
    tensors: Tensors


def import_single_file(job: ImportJob, identified: Identified, file: Path) -> Imported:
    """Take a single-file checkpoint apart into the store.

    Raises WeightsCorrupt, or ImportRefused; before anything is written unless a number is not finite.
    """
    layout = layout_of(identified.family, identified.variant)
    if layout is None:
        raise ValueError(f"single files of {identified.family} have no layout here")
    prediction = str(identified.details.get("prediction_type", ""))
    tensors = open_weights(file)
    _require_supported(identified, prediction, tensors)
    if identified.family == "sd2" and not prediction:
        prediction = _prediction_of(tensors)
    is_v = identified.family == "sd2" and prediction == "v_prediction" and identified.variant == "base"
    shipped = shipped_folder(identified.family, "v" if is_v else identified.variant)
    assert shipped is not None
    ready = check_parts(layout, shipped, _dequantised(tensors))
    donated = _find_missing(job, identified, layout, ready)
    ready = _with_tokenizers(identified.family, ready, donated)
    plans = [plan_storage(job.precision, each.tensors, kept=()) for each in ready]
    total = sum(stored_bytes(plan) for plan in plans)
    require_disk(job.work, total)
    job.expect(total)
    writing = job.writing()
    components = [_write(writing, each) for each in ready] + donated
    components += _write_tokenizers(writing, layout, components)
    components.append(_write_scheduler(writing, shipped, prediction, tensors))
    return _place(job, identified, shipped, components, prediction, tensors)


def _require_supported(identified: Identified, prediction: str, tensors: Mapping[str, Tensor]) -> None:
    title = _title(identified)
    if identified.variant == "depth":
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            f"{title} depth needs a depth estimator that single files lack: import its diffusers repository",
        )
    if prediction == "edm":
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            "this checkpoint was trained with EDM's noise schedule, which single files do not describe: "
            "import its repository in the diffusers layout",
        )
    quantised = next((name for name in tensors if ".quant_state." in name or name.endswith(".absmax")), None)
    if quantised is not None:
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            f"its weights are quantised ({quantised}): import a version in float16, bfloat16 or float8",
        )


def check_parts(layout: tuple[Part, ...], shipped: Path, tensors: Mapping[str, Tensor]) -> list[Ready]:
    """Every part the file has, checked to fit exactly. No number is read."""
    found = {part.name: part.prepare(tensors_of(part, tensors)) for part in layout}
    ready = []
    for part in [part for part in layout if found[part.name]]:
        own = found[part.name]
        network_class = find_class(part.library, part.class_name)
        published = read_json(shipped / part.name / "config.json")
        pooled = found.get("text_encoder_2", {}).get("text_projection.weight")
        if part.name == "unet" and pooled is not None:
            published["pooled_width"] = pooled.shape[0]
        config = part.read_config(published, own)
        if part.pad_token is not None and config["vocab_size"] != CLIP_VOCABULARY:
            raise ImportRefused(
                RefusalCode.UNSUPPORTED_MODEL,
                f"its {part.name} knows {config['vocab_size']} tokens, CLIP has {CLIP_VOCABULARY}: import "
                "its repository in the diffusers layout, which brings the vocabulary",
            )
        module = build_empty(network_class, config)
        converted = part.convert(own, config)
        ready.append(
            Ready(part=part, module=module, config=config, tensors=fit(module, converted, is_strict=True))
        )
    return ready


def _dequantised(tensors: Mapping[str, Tensor]) -> Tensors:
    """Scaled float8 weights as bfloat16; the tensors that only describe the scaling are left out."""
    plain = {name: each for name, each in tensors.items() if not name.endswith(_SCALING)}
    for name, scale in tensors.items():
        if (
            name.endswith(".scale_weight")
            and (weight := f"{name.removesuffix('scale_weight')}weight") in plain
        ):
            plain[weight] = (plain[weight].to(torch.float32) * scale.to(torch.float32)).to(torch.bfloat16)
    return plain


def _prediction_of(tensors: Mapping[str, Tensor]) -> str:
    """SD 2 where nothing says what it predicts: velocity, as nearly all of its fine-tunes do."""
    step = tensors.get("global_step")
    is_first = step is not None and step.numel() == 1 and int(numbers(step)) == EPSILON_STEP
    return "epsilon" if is_first else "v_prediction"


def _find_missing(
    job: ImportJob, identified: Identified, layout: tuple[Part, ...], ready: list[Ready]
) -> list[Component]:
    """Donated components for what the file lacks. Raises ImportRefused naming what is still missing."""
    family = identified.family
    there = {each.part.name: each for each in ready}
    denoiser = ready[0].config
    wanted: Wanted = [(part.name, (part.class_name,)) for part in layout if part.name not in there]
    wanted += [
        (part.name.replace("text_encoder", "tokenizer"), T5_TOKENIZERS)
        for part in layout
        if part.class_name == "T5EncoderModel"
    ]
    found, missing = [], []
    for name, class_names in wanted:
        is_network = "tokenizer" not in name
        donated = find_donated(job.store, job.donors, name, class_names, denoiser if is_network else None)
        if donated is not None:
            found.append(donated)
        elif (family, name) not in _DROPPED_WHEN_MISSING:
            missing.append(name)
    if missing:
        raise ImportRefused(RefusalCode.MISSING_COMPONENT, _what_to_import(identified, missing))
    return found


def _with_tokenizers(family: str, ready: list[Ready], donated: list[Component]) -> list[Ready]:
    """Without SD 3's T5 where no donor has its tokenizer: an encoder that nothing can speak to."""
    has_tokenizer = family != "sd3" or any(each.name == "tokenizer_3" for each in donated)
    return [each for each in ready if has_tokenizer or each.part.name != "text_encoder_3"]


def _what_to_import(identified: Identified, missing: list[str]) -> str:
    title = _title(identified)
    is_about_t5 = identified.family == "flux" and any(name.endswith("_2") for name in missing)
    example = " (the T5 text encoder and its vocabulary come only that way)" if is_about_t5 else ""
    return (
        f"the file lacks {', '.join(missing)} of {title}: first import a complete {title} repository in the "
        f"diffusers layout{example}; this file then shares its parts"
    )


def _write(writing: Writing, ready: Ready) -> Component:
    return write_network(writing, ready.part.name, type(ready.module), ready.config, ready.tensors)


def _write_tokenizers(
    writing: Writing, layout: tuple[Part, ...], components: list[Component]
) -> list[Component]:
    """CLIP's, with the shipped vocabulary."""
    there = {each.name for each in components}
    return [
        write_clip_tokenizer(writing, part.name.replace("text_encoder", "tokenizer"), part.pad_token)
        for part in layout
        if part.pad_token is not None and part.name in there
    ]


def _write_scheduler(
    writing: Writing, shipped: Path, prediction: str, tensors: Mapping[str, Tensor]
) -> Component:
    config = read_json(shipped / "scheduler" / "scheduler_config.json")
    if prediction == "v_prediction":
        config["prediction_type"] = prediction
    if "ztsnr" in tensors:
        # The marker of checkpoints that were trained down to pure noise.
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return write_scheduler(writing, "scheduler", config["_class_name"], config)


def _place(
    job: ImportJob,
    identified: Identified,
    shipped: Path,
    components: list[Component],
    prediction: str,
    tensors: Mapping[str, Tensor],
) -> Imported:
    published = read_json(shipped / "model_index.json")
    class_name = PIPELINES.get((identified.family, identified.variant), published["_class_name"])
    settings = {
        name: value
        for name, value in published.items()
        if not isinstance(value, list) and name != "_class_name"
    }
    names = {each.name for each in components}
    left_out = [
        name
        for name, entry in published.items()
        if isinstance(entry, list) and entry[0] and name not in names
    ]
    details: dict[str, Any] = {"prediction_type": prediction} if prediction else {}
    details["missing"] = left_out
    ignored = sorted(
        {name.split(".")[0] for name in tensors if name.startswith(("model_ema.", "control_model."))}
    )
    if ignored:
        details["ignored"] = ignored
    index = canonical_index(class_name, settings, components)
    return place_checkpoint(
        job, replace(identified, details=_plain_details(identified)), index, components, details
    )


def _plain_details(identified: Identified) -> dict[str, Any]:
    """What identification found, without what the file lacked: the checkpoint has it now."""
    return {name: value for name, value in identified.details.items() if name != "missing"}


def _title(identified: Identified) -> str:
    facts = facts_of(identified.family)
    return facts.title if facts is not None else identified.family
