"""What the stand-in engine says of its requests. No torch."""

from __future__ import annotations

import time

from gpu_runtime.fake_images import fake_jpeg, fake_png
from gpu_runtime.messages import ImageDone, ImageRequest, Preview, Timings


def preview(request: ImageRequest, index: int, step: int) -> Preview:
    """Of one image after this step."""
    data = fake_jpeg(request.prompt, request.seeds[index])
    return Preview(request_id=request.request_id, index=index, step=step, data=data)


def image_done(request: ImageRequest, index: int) -> ImageDone:
    """One image as a file."""
    width, height, seed = request.output_width, request.output_height, request.seeds[index]
    return ImageDone(
        request_id=request.request_id,
        index=index,
        seed=seed,
        data=fake_png(request.prompt, seed, width=width, height=height),
        media_type="image/png",
        width=width,
        height=height,
    )


def timings(submitted_at: float, admitted_at: float | None) -> Timings:
    """Of a request that ends now; both in monotonic seconds."""
    now = time.monotonic()
    admitted = now if admitted_at is None else admitted_at
    return Timings(
        queued_s=admitted - submitted_at,
        load_s=0.0,
        encode_s=0.0,
        denoise_s=now - admitted,
        decode_s=0.0,
        encode_image_s=0.0,
        total_s=now - submitted_at,
    )
