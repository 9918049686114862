"""Every request that the engine holds: where each of its images is, and what is to be reported of it.

An image is with the step batcher, with the finisher, or delivered, and goes through its passes one after the
other. Does no tensor work besides making latents larger between two passes. Decides nothing about turns.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.step_batcher import StepBatcher
from gpu_runtime.batching.turns import RowId
from gpu_runtime.errors import RuntimeFault, UnsupportedCombination
from gpu_runtime.families.family import Row, Start
from gpu_runtime.finishing import Denoised, Finished, Finisher, Purpose
from gpu_runtime.held import HeldRequest
from gpu_runtime.images import Pixels
from gpu_runtime.invariants import check_places
from gpu_runtime.messages import (
    Event,
    ImageRequest,
    OnPixels,
    Priority,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.passes import Source
from gpu_runtime.previews import Previews

log = logging.getLogger(__name__)

ObserveLatents = Callable[[str, int, Tensor], None]
"""Called with request id, image index and final latents (float32 [1, C, h, w]), once an image."""


class Register:
    """The requests of one engine. Times are monotonic seconds."""

    def __init__(
        self,
        batcher: StepBatcher,
        finisher: Finisher,
        previews: Previews,
        observe_latents: ObserveLatents | None,
    ) -> None:
        self._batcher = batcher
        self._finisher = finisher
        self._previews = previews
        self._observe_latents = observe_latents
        self.held: dict[str, HeldRequest] = {}
        """In the order in which they came."""
        self.events: list[Event] = []
        """Since the last `take_events`."""

    def add(
        self,
        request: ImageRequest,
        on_pixels: OnPixels | None = None,
        on_between: OnPixels | None = None,
    ) -> None:
        """Take a request that was admitted. All its images are with the batcher, in their first pass."""
        # The caller may cancel and submit again before it fetched the events of the first time.
        self.events = [event for event in self.events if event.request_id != request.request_id]
        now = time.monotonic()
        held = HeldRequest.of(request, now, on_pixels, on_between)
        first = held.passes[0]
        self._batcher.add(
            request.request_id,
            account=request.account,
            weight=request.weight,
            key=held.keys[0],
            images=len(held.images),
            row_cost=first.row_cost,
            forward_rows=first.forward_rows,
            steps=first.steps,
            networks=first.networks,
            priority=request.priority,
            deadline=None if request.deadline_s is None else now + request.deadline_s,
        )
        self.held[request.request_id] = held

    def take_events(self) -> list[Event]:
        """What happened since the last call, in order."""
        self.events += [preview for preview in self._previews.collect() if preview.request_id in self.held]
        events, self.events = self.events, []
        return events

    def is_held(self, held: HeldRequest) -> bool:
        """Whether this request, and not a later one of the same name, has not had its final event."""
        return self.held.get(held.request_id) is held

    def weights(self) -> frozenset[str]:
        """Digests of all weights that held requests need."""
        return frozenset(digest for held in self.held.values() for digest in held.weights())

    def rows(self) -> Iterator[Row]:
        """Of all images that are between their first and their last step in a pass."""
        return (image.row for held in self.held.values() for image in held.images if image.row)

    def admit(self, rows: Iterable[RowId]) -> None:
        """Note when requests got their first row; loading their weights is their own time from then on."""
        now = time.monotonic()
        for row in rows:
            spent = self.held[row.request_id].spent
            spent.admitted_at = spent.admitted_at or now

    def note_decodes(self, rows: Iterable[RowId], now: float) -> None:
        """Note when images were last decoded."""
        for row in rows:
            self.held[row.request_id].spent.last_decode_at = now

    def oldest_waits(self) -> dict[Priority, float]:
        """Seconds since the coming of the oldest request that has not begun, by class."""
        now = time.monotonic()
        waits: dict[Priority, float] = {}
        for held in self.held.values():
            if held.spent.admitted_at is None:
                # In the order of their coming, so the first of a class is its oldest.
                waits.setdefault(held.request.priority, now - held.spent.submitted_at)
        return waits

    def rekey(self, held: HeldRequest, stage: int, key: BatchKey) -> None:
        """Encoding a pass showed with whom its rows can be stacked: they wait for a turn of that key."""
        held.keys[stage] = key
        self._batcher.rekey(held.request_id, key, stage)

    def report_progress(self, requests: Iterable[HeldRequest]) -> None:
        """One event for each of these that is still held."""
        self.events += [held.progress() for held in requests if self.is_held(held)]

    def retire(self, held: HeldRequest, index: int, latents: Tensor) -> None:
        """An image has done the steps of its pass: on to the next one, or to the finisher."""
        image = held.images[index]
        self._batcher.retire(held.row_id(index))
        if image.row:
            # The turn that retires it holds the row until its end.
            image.row.features = None
        image.row = None
        image.is_denoised = True
        if not held.has_next_pass(index):
            if self._observe_latents:
                self._observe_latents(held.request_id, index, latents)
            self._finish(held, index, latents, Purpose.PIXELS if held.on_pixels else Purpose.FILE)
            return
        upcoming = held.passes[image.stage + 1]
        if upcoming.source in (Source.ENLARGED_IMAGE, Source.RETURNED_IMAGE):
            self._finish(held, index, latents, Purpose.PIXELS)
            return
        if upcoming.source is Source.ENLARGED_LATENTS:
            latents = _enlarged(latents, held.pass_of(index).request, upcoming.request)
        self._enter_next_pass(held, index, Start(latents=latents))

    def receive(self, finished: Finished) -> None:
        """What the finisher made: a file to deliver, or pixels to hand out or to go on from."""
        held = self.held.get(finished.row.request_id)
        if held is None:
            return
        if isinstance(finished.result, RuntimeFault):
            self.fail(held, finished.result)
        elif isinstance(finished.result, bytes):
            self._deliver(held, finished.row.index, finished.result)
        else:
            self._receive_pixels(held, finished.row.index, finished.result)

    def resume(self, request_id: str, index: int, pixels: Pixels) -> None:
        """Somebody brings back the pixels of an image that was handed out. An unknown request is ignored.

        Raises UnsupportedCombination for another size than that of its next pass.
        """
        held = self.held.get(request_id)
        if held is None or not held.images[index].is_away:
            return
        upcoming = held.passes[held.images[index].stage + 1].request
        if pixels.shape != (upcoming.height, upcoming.width, 3):
            came = " x ".join(map(str, pixels.shape))
            raise UnsupportedCombination(
                f"the second pass takes {upcoming.height} x {upcoming.width} x 3 pixels, and {came} came back"
            )
        self._enter_next_pass(held, index, Start(pixels=_as_decoded(pixels)))

    def fail(self, held: HeldRequest, fault: RuntimeFault) -> None:
        """End a request with a fault. Images already handed out stay handed out."""
        if self.forget(held.request_id):
            log.warning("request %s failed: %s: %s", held.request_id, type(fault).__name__, fault)
            self.events.append(RequestFailed(request_id=held.request_id, fault=fault))

    def cancel(self, request_id: str) -> None:
        """End a request because nobody wants it any more. An unknown id is ignored."""
        if self.forget(request_id):
            self.events.append(RequestCanceled(request_id=request_id))

    def forget(self, request_id: str) -> bool:
        """Drop all that there is of a request, without an event; False for an unknown one."""
        held = self.held.pop(request_id, None)
        for image in held.images if held else ():
            if image.row and image.row.release:
                image.row.release()
        self._batcher.remove(request_id)
        self._finisher.forget(request_id)
        self._previews.forget(request_id)
        return held is not None

    def check_invariants(self) -> None:
        """Raise AssertionError unless every image is in exactly one place."""
        check_places(self.held, self._batcher.rows(), self._batcher.keys(), self._finisher.rows())

    def _finish(self, held: HeldRequest, index: int, latents: Tensor, purpose: Purpose) -> None:
        """Hand latents to the finisher: to be made a file, or pixels, for the next pass if there is one."""
        image = held.images[index]
        request = held.request
        width, height = request.output_width, request.output_height
        is_nearest = False
        if held.has_next_pass(index):
            upcoming = held.passes[image.stage + 1]
            # What comes back enlarged is handed out as it is.
            is_returned = upcoming.source is Source.RETURNED_IMAGE
            sized = held.pass_of(index).request if is_returned else upcoming.request
            width, height, is_nearest = sized.width, sized.height, upcoming.is_nearest
        self._finisher.put(
            Denoised(
                row=held.row_id(index),
                request=held.pass_of(index).request,
                key=held.keys[image.stage],
                latents=latents,
                purpose=purpose,
                width=width,
                height=height,
                is_nearest=is_nearest,
            )
        )

    def _receive_pixels(self, held: HeldRequest, index: int, pixels: Pixels) -> None:
        """Of an image that is done, or of one that another pass goes on from."""
        image = held.images[index]
        if not held.has_next_pass(index):
            assert held.on_pixels is not None
            held.on_pixels(index, pixels)
            self._note_delivered(held, index)
        elif held.passes[image.stage + 1].source is Source.RETURNED_IMAGE:
            assert held.on_between is not None
            image.is_away = True
            held.on_between(index, pixels)
        else:
            self._enter_next_pass(held, index, Start(pixels=_as_decoded(pixels)))

    def _enter_next_pass(self, held: HeldRequest, index: int, start: Start) -> None:
        held.enter_next_pass(index, start)
        stage = held.images[index].stage
        entered = held.passes[stage]
        self._batcher.join(
            held.request_id,
            stage,
            index,
            key=held.keys[stage],
            row_cost=entered.row_cost,
            forward_rows=entered.forward_rows,
            steps=entered.steps,
            networks=entered.networks,
        )

    def _deliver(self, held: HeldRequest, index: int, data: bytes) -> None:
        self.events.append(held.image_done(index, data))
        self._note_delivered(held, index)

    def _note_delivered(self, held: HeldRequest, index: int) -> None:
        held.images[index].is_delivered = True
        if all(image.is_delivered for image in held.images):
            self.forget(held.request_id)
            timings = held.spent.timings(time.monotonic())
            self.events.append(RequestDone(request_id=held.request_id, timings=timings))


def _enlarged(latents: Tensor, before: ImageRequest, after: ImageRequest) -> Tensor:
    """Latents of one size at another, bilinear: float32 [1, C, h, w], where they are."""
    height, width = latents.shape[-2:]
    size = (height * after.height // before.height, width * after.width // before.width)
    return torch.nn.functional.interpolate(latents, size=size, mode="bilinear", align_corners=False)


def _as_decoded(pixels: Pixels) -> Tensor:
    """Float32 [1, 3, H, W], -1 to 1, on the host; rounded to what an image file holds, as by hand."""
    unit = torch.from_numpy(pixels.copy()).float() / 255.0
    return (2.0 * unit - 1.0).permute(2, 0, 1)[None].contiguous()
