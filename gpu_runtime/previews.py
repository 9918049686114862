"""What images look like on their way: small JPEG files made from latents without a decoder.

What is shown are the clean latents that the denoiser's latest prediction stands for: the image is to be seen
in them when half of the noise is still in the latents themselves, and they cost no further call.

Every autoencoder's latents are nearly a picture already: a linear map from channels to colours shows what is
there. The map is fitted by least squares, once for each loaded checkpoint, to what its own decoder makes of
smooth random latents; so fine-tuned and unusual autoencoders are served as well as the usual ones.

The map is applied on the device beside a step and gives a few kilobytes; enlarging and encoding happen
in a thread. Nothing here changes an image, and what goes wrong here costs a preview and no more.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from torch import Tensor

from gpu_runtime.calls import Member
from gpu_runtime.device_faults import is_device_lost
from gpu_runtime.errors import DeviceLost
from gpu_runtime.families.family import Family, Row
from gpu_runtime.images import Pixels, to_pixels
from gpu_runtime.messages import Preview
from gpu_runtime.sampling.row_sampler import RowSampler

log = logging.getLogger(__name__)

INTERVAL_S = 0.5
"""Least time between two previews of one request."""

MAX_SIDE_PX = 256

JPEG_QUALITY = 70

FITTED_SIDE = 16
"""Latents a side of the random picture that the map is fitted to."""

BLOTCH = 2
"""Latents a side of its blotches, for decoders were trained on pictures, in which neighbours are alike. That
leaves 64 different ones for 5 to 17 unknowns."""

FITTED_SEED = 4


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear map from latents to colours."""

    matrix: Tensor
    """Float32 [3, C + 1]: of each colour, -1 to 1, the weights of the channels and a constant."""

    def colours(self, latents: Tensor) -> Tensor:
        """Float32 [C, h, w] to float32 [3, h, w], nominally -1 to 1, on the same device."""
        # Some samplers' noisy latents are many times as large as clean ones, whose deviation is about 1.
        moderate = latents / latents.std().clamp(min=1.0)
        weights, constant = self.matrix[:, :-1], self.matrix[:, -1]
        return torch.einsum("kc,chw->khw", weights, moderate) + constant[:, None, None]


@runtime_checkable
class ShowsLatents(Protocol):
    """A family whose rows hold latents in forms of their own, which its `decode` does not take."""

    def shown_latents(self, row: Row) -> Tensor | None:
        """[1, C, h, w], None where there is nothing to be seen."""

    def decode_shown(self, latents: Tensor) -> Tensor:
        """Float32 [1, 3, H, W] of such latents, nominally -1 to 1."""


def fit_projection(decode: Callable[[Tensor], Tensor], channels: int, device: torch.device) -> Projection:
    """The map that comes nearest to the checkpoint's own decoder. One decode of a small picture.

    Raises what decoding raises.
    """
    generator = torch.Generator("cpu").manual_seed(FITTED_SEED)
    small = torch.randn(1, channels, FITTED_SIDE // BLOTCH, FITTED_SIDE // BLOTCH, generator=generator)
    latents = torch.nn.functional.interpolate(small, scale_factor=BLOTCH, mode="nearest").to(device)
    decoded = decode(latents).float().clamp(-1, 1)
    colours = torch.nn.functional.adaptive_avg_pool2d(decoded, FITTED_SIDE)
    samples = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1).flatten(2)[0].T
    # On the CPU: CUDA's only solver wants full rank, which random numbers have but do not promise.
    solution = torch.linalg.lstsq(samples.cpu(), colours.flatten(2)[0].T.cpu(), driver="gelsd").solution
    return Projection(solution.T.contiguous().to(device))


class Previews:
    """Makes the previews of one engine."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._projections: WeakKeyDictionary[Family, Projection | None] = WeakKeyDictionary()
        """Of loaded checkpoints; None where there is none to be had."""
        self._latest: dict[str, tuple[float, int]] = {}
        """When each request's latest preview was made, and of which image."""
        self._chosen: list[tuple[Member, Tensor | None]] = []
        """Those of the present turn, with their clean latents as foreseen before the step."""
        self._encoding: list[tuple[str, int, int, Future[bytes]]] = []
        """Request, image index and steps of those under way, in order."""
        self._failed: set[str] = set()
        """Requests of which a preview failed: one line in the log says enough."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="encode-preview")

    def before_step(self, predicted: Sequence[tuple[Member, Tensor]], family: Family) -> None:
        """Look at what these are about to be stepped with, where a preview is due. Raises DeviceLost.

        Takes each member's guided prediction, float32 [1, C, h, w]. One image of a request in turn is shown.
        """
        wanted: dict[str, list[tuple[Member, Tensor]]] = {}
        for member, prediction in predicted:
            if member.held.request.wants_previews:
                wanted.setdefault(member.held.request_id, []).append((member, prediction))
        for request_id, own in wanted.items():
            if self._is_due(request_id):
                _, latest = self._latest.get(request_id, (0.0, -1))
                member, prediction = next((each for each in own if each[0].index > latest), own[0])
                self._choose(family, member, prediction)

    def after_turn(self, family: Family) -> None:
        """Start the previews of those looked at, if their requests are held and their images not done.

        Raises DeviceLost.
        """
        chosen, self._chosen = self._chosen, []
        for member, foreseen in chosen:
            if not member.row.sampler.is_done:
                self._make(member, foreseen, family)

    def collect(self) -> list[Preview]:
        """Those that are ready. One that failed is left out and logged."""
        ready, self._encoding = (
            [each for each in self._encoding if each[3].done()],
            [each for each in self._encoding if not each[3].done()],
        )
        return [
            Preview(request_id=request_id, index=index, step=step, data=future.result())
            for request_id, index, step, future in ready
            if self._is_made(request_id, future)
        ]

    def forget(self, request_id: str) -> None:
        """Drop everything of one request."""
        self._latest.pop(request_id, None)
        self._failed.discard(request_id)
        self._chosen = [each for each in self._chosen if each[0].held.request_id != request_id]
        self._encoding = [each for each in self._encoding if each[0] != request_id]

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _is_made(self, request_id: str, future: Future[bytes]) -> bool:
        error = future.exception()
        if error is not None:
            self._note_failure(request_id, error)
        return error is None

    def _note_failure(self, request_id: str, error: BaseException) -> None:
        if request_id not in self._failed:
            self._failed.add(request_id)
            log.warning("request %s: no preview could be made: %s", request_id, error)

    def _is_due(self, request_id: str) -> bool:
        """Not while the thread is busy with the request's last one."""
        if any(name == request_id for name, *_ in self._encoding):
            return False
        latest = self._latest.get(request_id)
        return latest is None or self._clock() - latest[0] >= INTERVAL_S

    def _choose(self, family: Family, member: Member, prediction: Tensor) -> None:
        """Without clean latents where none can be had: its latents after the step are shown."""
        row, foreseen = member.row, None
        if not isinstance(family, ShowsLatents) and isinstance(row.sampler, RowSampler):
            with self._costing_no_more(member):
                foreseen = row.sampler.denoised(prediction, row.latents)
                if foreseen is None:
                    # Nothing but noise as yet, and so there would be nothing else to see.
                    return
        self._chosen.append((member, foreseen))

    def _make(self, member: Member, foreseen: Tensor | None, family: Family) -> None:
        held, index = member.held, member.index
        self._latest[held.request_id] = self._clock(), index
        with self._costing_no_more(member):
            latents = _latents_of(family, member.row) if foreseen is None else foreseen
            projection = None if latents is None else self._projection(family, latents)
            if latents is None or projection is None:
                return
            future = self._pool.submit(_encode, to_pixels(projection.colours(latents[0].float())))
            self._encoding.append((held.request_id, index, held.steps_done(index), future))

    @contextmanager
    def _costing_no_more(self, member: Member) -> Iterator[None]:
        """What goes wrong within costs the preview; raises DeviceLost, after which nothing works."""
        try:
            yield
        except Exception as error:
            if is_device_lost(error):
                raise DeviceLost(f"the device failed while making a preview: {error}") from error
            self._note_failure(member.held.request_id, error)

    def _projection(self, family: Family, latents: Tensor) -> Projection | None:
        if family not in self._projections:
            # Marked first: what fails once is not tried again at every step.
            self._projections[family] = None
            decode = family.decode_shown if isinstance(family, ShowsLatents) else family.decode
            if family.vae is not None or isinstance(family, ShowsLatents):
                self._projections[family] = fit_projection(decode, latents.shape[1], latents.device)
        return self._projections[family]


def _latents_of(family: Family, row: Row) -> Tensor | None:
    return family.shown_latents(row) if isinstance(family, ShowsLatents) else row.latents


def _encode(pixels: Pixels) -> bytes:
    picture = Image.fromarray(pixels)
    largest = max(picture.size)
    size = tuple(max(1, side * MAX_SIDE_PX // largest) for side in picture.size)
    file = io.BytesIO()
    picture.resize((size[0], size[1]), Image.Resampling.BICUBIC).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
