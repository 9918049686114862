"""A job as server-sent events: partial images while it runs, and each image when it is done.

    event: image_generation.completed
    data: {"type": "image_generation.completed", "b64_json": "...", ...}

Partial images are the runtime's previews, in the file type that was asked for. There may be fewer than asked:
none where the images may yet be replaced by the safety check, and none of models that show nothing of
themselves.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Final

from django.http import HttpRequest
from PIL import Image

from apps.api.json_bytes import json_bytes
from apps.api.openai.errors import Refusal, error_body
from apps.api.openai.fields import EDITS
from apps.api.openai.outcomes import ClientGone, expired_images, follow, require_success
from apps.api.openai.render import created_at, encoded, facts, filters, options_of, usage
from apps.apikeys.models import ApiKey
from apps.generation.models import GenerationJob
from apps.generation.selectors import find_preview, list_artifacts
from apps.generation.sizes import Size

EDIT_EVENT: Final = "image_edit"
GENERATION_EVENT: Final = "image_generation"
STILL_HERE: Final = b": still here\n\n"
"""Keeps proxies from closing a silent connection, and notices a client that has gone."""
MAX_PARTIAL_PX: Final = 1024
"""Longer side of a partial image; the preview that it is made from has 256."""
NOISE_SHARE: Final = 0.4
"""Of a job's steps, after which an image begins to be recognised."""
QUALITY: Final = 80
"""Of partial JPEG and WebP files."""
FASTEST: Final = 1
"""Of PNG's compression levels, and of WebP's methods."""


def image_events(
    job: GenerationJob, http: HttpRequest, key: ApiKey, *, partial_images: int, is_fetchable: bool
) -> Iterator[bytes]:
    """Events until the job has ended. A failure is an event with `error`, which the libraries raise."""
    prefix = EDIT_EVENT if options_of(job)["endpoint"] == EDITS else GENERATION_EVENT
    partials = Partials(partial_images)
    current = job
    try:
        # Closed with this generator, when the client is gone: then the job is canceled.
        with closing(follow(job, http, key, is_fetchable=is_fetchable)) as changes:
            for current in changes:
                preview = None if current.is_terminal else partials.take(current)
                yield STILL_HERE if preview is None else event(f"{prefix}.partial_image", preview)
        yield from _completed(require_success(current), f"{prefix}.completed")
    except Refusal as refused:
        yield event("error", {"error": error_body(str(refused), refused.answer)})
    except ClientGone:
        return


def event(name: str, data: Mapping[str, object]) -> bytes:
    """One event; its name stands in the data again, where the libraries read it."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json_bytes({"type": name, **data}))


class Partials:
    """Decides which previews of one job are shown: at equal distances, once there is more to see than noise.

    Counted by the steps that the preview itself had, for it may be older than the job's progress. Short jobs
    have fewer previews than callers ask for.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._shown = 0
        self._last: tuple[int, int] | None = None

    def take(self, job: GenerationJob) -> dict[str, object] | None:
        """What a partial event says, when one is due."""
        if self._shown >= self._wanted or not job.progress_total:
            return None
        due_at = NOISE_SHARE + (1 - NOISE_SHARE) * (self._shown + 1) / (self._wanted + 1)
        if job.progress_step < job.progress_total * due_at:
            return None
        preview = find_preview(job)
        if preview is None or preview.step * job.num_images < job.progress_total * due_at:
            return None
        if (preview.index, preview.step) == self._last:
            return None
        self._last = (preview.index, preview.step)
        said = facts(job)
        data = enlarged(bytes(preview.data), job.resolved.delivered_size, said["output_format"])
        partial: dict[str, object] = {
            "b64_json": base64.b64encode(data).decode("ascii"),
            "partial_image_index": self._shown,
            "created_at": created_at(job),
            **said,
        }
        self._shown += 1
        return partial


def enlarged(preview: bytes, size: Size, file_format: str) -> bytes:
    """A preview in the proportions of the image: clients put it where the image will be."""
    scale = min(1.0, MAX_PARTIAL_PX / max(size))
    shown = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(preview)).convert("RGB").resize(shown, Image.Resampling.BICUBIC)
    # Each format takes of these what it knows.
    picture.save(buffer, file_format, quality=QUALITY, compress_level=FASTEST, method=FASTEST)
    return buffer.getvalue()


def _completed(job: GenerationJob, name: str) -> Iterator[bytes]:
    artifacts = list(list_artifacts(job))
    said = facts(job)
    if not artifacts:
        raise expired_images(job)
    for artifact in artifacts:
        # What came in is counted with the first image, so that the figures of all add up.
        tokens = usage(job.resolved, images=[artifact], counts_input=artifact.index == 0)
        try:
            image = encoded(artifact)
        except FileNotFoundError:
            raise expired_images(job) from None
        yield event(
            name, {**image, **filters(job, artifact), "created_at": created_at(job), **said, "usage": tokens}
        )
