"""Answers of txt2img and img2img, made from the job's row and its files."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

from apps.api.a1111.checkpoints import short_hash
from apps.api.a1111.infotexts import extra_params, infotexts_of
from apps.api.a1111.jobs import Kept, artifacts_of, images_expired, kept_of
from apps.api.a1111.prompts import EMPTY
from apps.artifacts.models import Artifact
from apps.generation.choices import JobState
from apps.generation.infotext import SAMPLER_NAMES, SOFTWARE
from apps.generation.models import GenerationJob
from apps.generation.pictures import picture_bytes
from apps.generation.request import MAX_SEED
from apps.generation.resolved import ResolvedRequest
from apps.generation.safety_report import report_on
from apps.generation.wishes import StoredPicture, VariationWish

TIMESTAMP: Final = "%Y%m%d%H%M%S"
"""Of job_timestamp."""
NOT_FOUND: Final = "Networks not found"
"""Their words for it."""


class Info(TypedDict):
    """What the text under `info` says; strict clients want every key with its type."""

    prompt: str
    all_prompts: list[str]
    negative_prompt: str
    all_negative_prompts: list[str]
    seed: int
    all_seeds: list[int]
    subseed: int
    all_subseeds: list[int]
    subseed_strength: float
    width: int
    height: int
    sampler_name: str
    cfg_scale: float
    steps: int
    batch_size: int
    restore_faces: bool
    face_restoration_model: str | None
    sd_model_name: str
    sd_model_hash: str
    sd_vae_name: str | None
    sd_vae_hash: str | None
    seed_resize_from_w: int
    seed_resize_from_h: int
    denoising_strength: float | None
    extra_generation_params: Mapping[str, str]
    index_of_first_image: int
    infotexts: list[str]
    styles: list[str]
    job_timestamp: str
    clip_skip: int
    is_using_inpainting_conditioning: bool
    version: str


def info_of(job: GenerationJob) -> Info:
    """The job's effective parameters: what was done, not what was asked for."""
    resolved, kept = job.resolved, kept_of(job)
    prompt = kept.get("prompt", "" if resolved.prompt == EMPTY else resolved.prompt)
    negative_prompt = kept.get("negative_prompt", resolved.negative_prompt)
    count = resolved.num_images
    subseeds = _subseeds(resolved, kept.get("subseed", -1))
    infotexts = infotexts_of(job)
    variation = resolved.variation or VariationWish()
    vae, checkpoint = resolved.adapters.vae, job.checkpoint
    has_strength = resolved.image is not None or resolved.hires is not None
    strength = resolved.hires.strength if resolved.hires is not None else resolved.strength
    return {
        "prompt": prompt,
        "all_prompts": [prompt] * count,
        "negative_prompt": negative_prompt,
        "all_negative_prompts": [negative_prompt] * count,
        "seed": resolved.seed,
        "all_seeds": list(resolved.seeds),
        "subseed": subseeds[0],
        "all_subseeds": subseeds,
        "subseed_strength": variation.strength,
        "width": resolved.width,
        "height": resolved.height,
        "sampler_name": SAMPLER_NAMES[resolved.sampler],
        "cfg_scale": resolved.guidance_scale,
        "steps": resolved.steps,
        "batch_size": kept.get("batch_size", 1),
        "restore_faces": kept.get("restore_faces", False),
        "face_restoration_model": resolved.faces[0].assets[0].name if resolved.faces else None,
        "sd_model_name": resolved.checkpoint,
        "sd_model_hash": short_hash(checkpoint) if checkpoint else "",
        "sd_vae_name": vae.name if vae else None,
        "sd_vae_hash": None,
        "seed_resize_from_w": variation.from_width or -1,
        "seed_resize_from_h": variation.from_height or -1,
        "denoising_strength": strength if has_strength else None,
        "extra_generation_params": _extra_params(infotexts, kept) | _safety(job),
        "index_of_first_image": 0,
        "infotexts": infotexts,
        "styles": [],
        "job_timestamp": job.queued_at.strftime(TIMESTAMP),
        "clip_skip": resolved.clip_skip + 1,
        "is_using_inpainting_conditioning": False,
        "version": SOFTWARE,
    }


def info_of_all(jobs: Sequence[GenerationJob]) -> Info:
    """That of the first job, with a place in its lists for each image of all. Without results, all count."""
    counted = [job for job in jobs if job.state == JobState.SUCCEEDED] or jobs
    first, *others = [info_of(job) for job in counted]
    for other in others:
        first["all_prompts"] += other["all_prompts"]
        first["all_negative_prompts"] += other["all_negative_prompts"]
        first["all_seeds"] += other["all_seeds"]
        first["all_subseeds"] += other["all_subseeds"]
        first["infotexts"] += other["infotexts"]
    return first


def _subseeds(resolved: ResolvedRequest, asked: int) -> list[int]:
    """One an image. Where they have no part in the noise, those that would have: as asked, or the seeds."""
    if resolved.variation_seeds:
        return list(resolved.variation_seeds)
    if asked < 0:
        return list(resolved.seeds)
    return [(asked + index) % (MAX_SEED + 1) for index in range(resolved.num_images)]


def _extra_params(infotexts: Sequence[str], kept: Kept) -> dict[str, str]:
    """What the texts say besides, and what upstream writes into its log: networks that were left out."""
    params = extra_params(infotexts[0]) if infotexts else {}
    missing = kept.get("missing_networks")
    return params | ({NOT_FOUND: ", ".join(missing)} if missing else {})


def _safety(job: GenerationJob) -> dict[str, str]:
    """What the safety rules found, where they found something; upstream has no place for it."""
    report = report_on(job)
    return {"Safety": report.reason} if report is not None and report.reason else {}


def images_body(
    jobs: Sequence[GenerationJob],
    parameters: Mapping[str, object],
    *,
    maps: Sequence[str],
    sends_images: bool,
) -> dict[str, object]:
    """The answer to a request, of the jobs it made. `maps` are those of its ControlNet units, base64."""
    made = [artifact for job in jobs for artifact in artifacts_of(job)]
    images = [encoded(artifact) for artifact in made] if sends_images else []
    return {
        "images": [*images, *(maps if images else ())],
        "parameters": parameters,
        "info": json.dumps(info_of_all(jobs)),
    }


def encoded(artifact: Artifact) -> str:
    """The file as base64, without a prefix. Raises Refusal when it has been deleted meanwhile."""
    try:
        return base64.b64encode(artifact.file_path.read_bytes()).decode("ascii")
    except FileNotFoundError:
        raise images_expired(artifact.job_id) from None


def encoded_picture(picture: StoredPicture) -> str:
    """A picture that the request brought, as base64."""
    return base64.b64encode(picture_bytes(picture.digest)).decode("ascii")
