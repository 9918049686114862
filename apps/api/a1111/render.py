"""Answers of txt2img and img2img, made from the job's row and its files."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, TypedDict

from apps.api.a1111.checkpoints import short_hash
from apps.api.a1111.errors import Refusal
from apps.api.a1111.infotexts import extra_params, infotext_of
from apps.api.a1111.jobs import artifacts_of, kept_of
from apps.api.a1111.prompts import EMPTY
from apps.artifacts.models import Artifact
from apps.generation.infotext import SAMPLER_NAMES, SOFTWARE
from apps.generation.models import GenerationJob
from apps.generation.pictures import picture_bytes
from apps.generation.request import MAX_SEED
from apps.generation.wishes import StoredPicture

TIMESTAMP: Final = "%Y%m%d%H%M%S"
"""Of job_timestamp."""


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
    subseed = kept.get("subseed", -1)
    subseeds = [(seed if subseed < 0 else subseed + index) for index, seed in enumerate(resolved.seeds)]
    infotexts = [infotext_of(job, seed) for seed in resolved.seeds]
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
        "subseed": subseeds[0] if subseeds else subseed,
        "all_subseeds": [value % (MAX_SEED + 1) for value in subseeds],
        "subseed_strength": 0.0,
        "width": resolved.width,
        "height": resolved.height,
        "sampler_name": SAMPLER_NAMES[resolved.sampler],
        "cfg_scale": resolved.guidance_scale,
        "steps": resolved.steps,
        "batch_size": kept.get("batch_size", 1),
        "restore_faces": kept.get("restore_faces", False),
        "face_restoration_model": None,
        "sd_model_name": resolved.checkpoint,
        "sd_model_hash": short_hash(checkpoint) if checkpoint else "",
        "sd_vae_name": vae.name if vae else None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": strength if has_strength else None,
        "extra_generation_params": extra_params(infotexts[0]) if infotexts else {},
        "index_of_first_image": 0,
        "infotexts": infotexts,
        "styles": [],
        "job_timestamp": job.queued_at.strftime(TIMESTAMP),
        "clip_skip": resolved.clip_skip + 1,
        "is_using_inpainting_conditioning": False,
        "version": SOFTWARE,
    }


def images_body(
    job: GenerationJob, parameters: Mapping[str, object], *, maps: Sequence[str], sends_images: bool
) -> dict[str, object]:
    """The answer to a request. `maps` are those of its ControlNet units, base64."""
    images = [encoded(artifact) for artifact in artifacts_of(job)] if sends_images else []
    return {
        "images": [*images, *(maps if images else ())],
        "parameters": parameters,
        "info": json.dumps(info_of(job)),
    }


def encoded(artifact: Artifact) -> str:
    """The file as base64, without a prefix. Raises Refusal when it has been deleted meanwhile."""
    try:
        return base64.b64encode(artifact.file_path.read_bytes()).decode("ascii")
    except FileNotFoundError:
        problem = f"The images of job {artifact.job_id} have expired."
        raise Refusal(HTTPStatus.GONE, problem) from None


def encoded_picture(picture: StoredPicture) -> str:
    """A picture that the request brought, as base64."""
    return base64.b64encode(picture_bytes(picture.digest)).decode("ascii")
