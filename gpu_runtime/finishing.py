"""From latents to images: VAE decode between steps, resizing and PNG encoding in threads beside them.

Most become files. Those that another pass or an operation goes on from become pixels of its size. The decode
runs on the device and so takes turns with the steps, a few images at a time. Resizing and encoding need no
device and release the interpreter lock for most of their time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import torch
from torch import Tensor

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.turns import RowId
from gpu_runtime.decoding import decode
from gpu_runtime.device_faults import as_fault
from gpu_runtime.errors import NumericFault, OutOfMemory, RuntimeFault
from gpu_runtime.families.family import Family
from gpu_runtime.images import Pixels, encode_png, resize, to_pixels
from gpu_runtime.messages import CheckpointRef, ImageRequest, Tier, VaeRef

DECODE_ROWS = 4
"""Most images a decode: it must not hold up the running rows for long, and its memory grows with it."""

ENCODE_THREADS = 2
"""One encodes while the other resizes; more would take cores from the steps on a small CPU."""


class Purpose(StrEnum):
    """What latents are decoded for."""

    FILE = "file"
    PIXELS = "pixels"
    """The next pass over the image begins from them, or operations on pictures do."""


Result: TypeAlias = bytes | Pixels | RuntimeFault
"""A PNG file, pixels, or why there is neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoised:
    """One image whose steps are done, all of them or those of a pass."""

    row: RowId
    request: ImageRequest
    """Of the pass."""
    key: BatchKey
    latents: Tensor
    """[1, C, h, w], float32, on the device."""
    purpose: Purpose = Purpose.FILE
    width: int
    """Of the result in pixels; the decoded image is resized to it (Lanczos)."""
    height: int
    is_nearest: bool = False
    """Resize by repeating pixels instead."""

    @property
    def shares_with(self) -> tuple[BatchKey, str]:
        """What must be equal for two images to be decoded together."""
        return self.key, self.request.vae.digest if self.request.vae else ""

    @property
    def most_together(self) -> int:
        """Most images in a decode with this one: the exact tier's bytes depend on none but the image."""
        return 1 if self.key.tier is Tier.EXACT else DECODE_ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDecode:
    """The next decode."""

    checkpoint: CheckpointRef
    key: BatchKey
    vae: VaeRef | None
    """Decodes in place of the checkpoint's own autoencoder."""
    images: int

    @property
    def weights(self) -> tuple[str, ...]:
        """Digests of all that it needs on the device."""
        return (self.checkpoint.digest, self.vae.digest) if self.vae else (self.checkpoint.digest,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What became of one image."""

    row: RowId
    result: Result


class Finisher:
    """Takes latents, gives image files and pixels, in the order in which latents came."""

    def __init__(self) -> None:
        self._latents: deque[Denoised] = deque()
        self._encoding: deque[tuple[RowId, Future[Result]]] = deque()
        self._failed: list[Finished] = []
        self._pool = ThreadPoolExecutor(ENCODE_THREADS, thread_name_prefix="encode-image")

    def put(self, image: Denoised) -> None:
        """Queue final latents."""
        self._latents.append(image)

    def forget(self, request_id: str) -> None:
        """Drop everything of one request."""
        self._latents = deque(d for d in self._latents if d.row.request_id != request_id)
        for row, future in self._encoding:
            if row.request_id == request_id:
                future.cancel()
        self._encoding = deque(e for e in self._encoding if e[0].request_id != request_id)
        self._failed = [f for f in self._failed if f.row.request_id != request_id]

    def rows(self) -> list[RowId]:
        """Every image that is in here."""
        return [
            *(d.row for d in self._latents),
            *(row for row, _ in self._encoding),
            *(f.row for f in self._failed),
        ]

    def next_decode(self) -> DueDecode | None:
        """What the next decode needs; None when no latents wait."""
        if not self._latents:
            return None
        first = self._latents[0]
        alike = sum(d.shares_with == first.shares_with for d in self._latents)
        return DueDecode(
            checkpoint=first.request.checkpoint,
            key=first.key,
            vae=first.request.vae,
            images=min(alike, first.most_together),
        )

    def decodes_waiting(self) -> int:
        """How many decodes the latents that wait need at most."""
        return len(self._latents)

    def decode(self, family: Family, vae: Any = None, *, make_room: Callable[[], int]) -> list[RowId]:
        """Decode the oldest latents and those like them, and start encoding. Raises DeviceLost only.

        Returns which they were, decoded or failed.
        `family` is the loaded checkpoint that `next_decode` named, `vae` the autoencoder
        (untyped in diffusers) if it named one. `make_room` takes other weights off the device and returns
        the bytes freed.
        """
        batch = self._take_alike()
        try:
            latents = torch.cat([image.latents for image in batch])
            is_seamless = batch[0].request.is_seamless
            decoded = decode(family, latents, vae, make_room=make_room, is_seamless=is_seamless)
            pixels = [None if each is None else _pixels_of(each) for each in decoded]
        except Exception as error:  # noqa: BLE001 - the loop's edge: these images fail, others go on
            fault = as_fault(error, "decoding an image")
            self._failed += [Finished(row=image.row, result=fault) for image in batch]
            return [image.row for image in batch]
        for image, each in zip(batch, pixels, strict=True):
            self._encode(image, each)
        return [image.row for image in batch]

    def fail_next_decode(self, fault: RuntimeFault) -> None:
        """Give up on the images of the next decode."""
        self._failed += [Finished(row=image.row, result=fault) for image in self._take_alike()]

    def collect(self, *, wait: bool) -> list[Finished]:
        """Images that are ready. With `wait`, blocks for the oldest when none is."""
        ready, self._failed = self._failed, []
        if wait and self._encoding and not ready:
            self._encoding[0][1].exception()
        still: deque[tuple[RowId, Future[Result]]] = deque()
        for row, future in self._encoding:
            if future.done():
                ready.append(_result(row, future))
            else:
                still.append((row, future))
        self._encoding = still
        return ready

    def close(self) -> None:
        """Stop the threads; images in progress are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _take_alike(self) -> list[Denoised]:
        first = self._latents[0]
        batch = [image for image in self._latents if image.shares_with == first.shares_with]
        batch = batch[: first.most_together]
        taken = {image.row for image in batch}
        self._latents = deque(image for image in self._latents if image.row not in taken)
        return batch

    def _encode(self, image: Denoised, decoded: Pixels | NumericFault | None) -> None:
        if decoded is None:
            lack = OutOfMemory("out of memory while decoding a single image")
            self._failed.append(Finished(row=image.row, result=lack))
        elif isinstance(decoded, NumericFault):
            self._failed.append(Finished(row=image.row, result=decoded))
        else:
            self._encoding.append((image.row, self._pool.submit(_made, image, decoded)))


def _pixels_of(decoded: Tensor) -> Pixels | NumericFault:
    """Of one decoded image, float32 [1, 3, H, W]."""
    if not bool(torch.isfinite(decoded).all()):
        return NumericFault("the decoded image has values that are not finite")
    return to_pixels(decoded[0])


def _made(image: Denoised, pixels: Pixels) -> Result:
    resized = resize(pixels, width=image.width, height=image.height, is_nearest=image.is_nearest)
    return encode_png(resized) if image.purpose is Purpose.FILE else resized


def _result(row: RowId, future: Future[Result]) -> Finished:
    error = future.exception()
    if error is None:
        return Finished(row=row, result=future.result())
    if not isinstance(error, Exception):
        raise error
    return Finished(row=row, result=as_fault(error, "encoding an image"))
