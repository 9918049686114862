"""`meta`: the effective parameters of a job, what was done and not what was asked for."""

from __future__ import annotations

from apps.api.modelslab.schedulers import words_of
from apps.api.modelslab.translation.asked import ClientOptions
from apps.generation.choices import DENOISING_KINDS, Kind
from apps.generation.models import GenerationJob
from apps.generation.resolved import ResolvedRequest
from apps.generation.safety_report import report_on

Meta = dict[str, object]
"""An open set of keys by contract (section 4.6): clients read some, unknown ones are harmless."""

FORMAT_WORDS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def meta_of(job: GenerationJob, options: ClientOptions) -> Meta:
    """For any state of the job; echoes what of the request is no parameter of ours."""
    resolved = job.resolved
    parts = _denoised(resolved) if resolved.kind in DENOISING_KINDS else _worked_on(resolved)
    return {
        **parts,
        "base64": _flag(options["base64"]),
        "temp": _flag(options["temp"]),
        "instant_response": _flag(options["instant_response"]),
        "safety_checker": _flag(resolved.check is not None),
        # What it was called before.
        "safetychecker": _flag(resolved.check is not None),
        "upscale": _flag(resolved.upscale is not None),
        "watermark": "no",
        "full_url": "no",
        **options["echo"],
        "webhook": job.webhook["url"] if job.webhook else None,
        "track_id": job.track_id,
        "id": str(job.pk),
        "outdir": "out",
        "file_prefix": str(job.artifact_group),
        **safety_of(job),
    }


def safety_of(job: GenerationJob) -> Meta:
    """`safety`, the decision of the safety rules and its reason; nothing where nothing was looked at."""
    report = report_on(job)
    if report is None:
        return {}
    decision = {
        "prompt": report.prompt or None,
        "terms": list(report.terms),
        "images": report.images or None,
        "reason": report.reason or None,
    }
    return {"safety": decision}


def _denoised(resolved: ResolvedRequest) -> Meta:
    words, adapters = words_of(resolved.sampler, resolved.schedule), resolved.adapters
    return {
        "prompt": resolved.prompt,
        "negative_prompt": resolved.negative_prompt,
        "model_id": resolved.checkpoint,
        # Before it is enlarged.
        **_size(*resolved.generated_size),
        "seed": resolved.seed,
        "steps": resolved.steps,
        "guidance_scale": resolved.guidance_scale,
        "n_samples": resolved.num_images,
        "scheduler": words.scheduler,
        "use_karras_sigmas": _flag(words.use_karras_sigmas),
        "algorithm_type": words.algorithm_type,
        "enhance_prompt": "no",
        "tomesd": "no",
        "highres_fix": _flag(resolved.hires is not None),
        "panorama": _flag(resolved.is_seamless),
        "self_attention": "no",
        "multi_lingual": "no",
        "vae": adapters.vae.name if adapters.vae else None,
        "lora_model": ",".join(lora.name for lora in adapters.loras) or None,
        "lora_strength": ",".join(f"{lora.scale:g}" for lora in adapters.loras) or None,
        **_applying(resolved),
    }


def _applying(resolved: ResolvedRequest) -> Meta:
    """Keys that are there when they say something."""
    found: Meta = {}
    if resolved.adapters.embeddings:
        found["embeddings_model"] = ",".join(used.name for used in resolved.adapters.embeddings)
    if resolved.image is not None and resolved.kind is not Kind.EDIT:
        found["strength"] = resolved.strength
    if resolved.mix is not None:
        found["kmin"], found["kmax"] = resolved.mix.until, resolved.strength
        found["mix_factor"] = resolved.mix.share
    if resolved.clip_skip:
        found["clip_skip"] = resolved.clip_skip + 1
    if resolved.true_guidance_scale > 1:
        found["true_cfg_scale"] = resolved.true_guidance_scale
    if resolved.ip_adapters:
        found["ip_adapter_id"] = ",".join(used.adapter.name for used in resolved.ip_adapters)
        found["ip_adapter_scale"] = resolved.ip_adapters[0].scale
    if resolved.controls:
        found["controlnet_model"] = ",".join(used.network.name for used in resolved.controls)
        found["controlnet_type"] = ",".join(used.type.value for used in resolved.controls)
        found["controlnet_conditioning_scale"] = ",".join(f"{used.scale:g}" for used in resolved.controls)
    if resolved.check is not None and resolved.check.replacement.value:
        found["safety_checker_type"] = resolved.check.replacement.value
    return found


def _worked_on(resolved: ResolvedRequest) -> Meta:
    """Of kinds that work on a picture alone."""
    model = next((asset.name for asset in resolved.upscale.assets), "") if resolved.upscale else ""
    return {
        **({"model_id": model} if model else {}),
        **_size(*resolved.delivered_size),
        "seed": resolved.seed,
        "n_samples": resolved.num_images,
        "model_save_format": FORMAT_WORDS[resolved.output.media_type],
    }


def _size(width: int, height: int) -> Meta:
    """Both spellings that clients read."""
    return {"W": width, "H": height, "width": width, "height": height}


def _flag(value: bool) -> str:
    return "yes" if value else "no"
