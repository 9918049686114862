"""What the engine remembers about a request between its submit() and its final event."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.turns import RowId
from gpu_runtime.families.family import WHOLE, Conditioning, Row, Start
from gpu_runtime.images import PNG_MEDIA_TYPE
from gpu_runtime.messages import ImageDone, ImageRequest, OnPixels, Progress, Timings
from gpu_runtime.passes import Pass, passes_of


@dataclass(slots=True)
class HeldImage:
    """One image of a request: in the batcher, with the finisher, or delivered."""

    stage: int = 0
    """Number of its pass."""
    start: Start = WHOLE
    """Where that pass begins and ends."""
    row: Row | None = None
    """Between the first and the last step of a pass, else None."""
    is_denoised: bool = False
    """Whether the steps of its pass are done and the result is with the finisher, or delivered."""
    is_away: bool = False
    """Whether its pixels were handed out to come back larger."""
    is_delivered: bool = False
    """Whether it was handed out as ImageDone."""


@dataclass(slots=True)
class Spent:
    """Where a request's time went so far: seconds of its own, and moments in monotonic seconds."""

    submitted_at: float
    admitted_at: float | None = None
    """First turn that had one of its rows; None until then, like the following."""
    first_step_at: float | None = None
    last_step_at: float | None = None
    last_decode_at: float | None = None
    load_s: float = 0.0
    encode_s: float = 0.0

    def note_step(self, began: float, ended: float) -> None:
        """One more step of one of its images."""
        self.first_step_at = began if self.first_step_at is None else self.first_step_at
        self.last_step_at = ended

    def timings(self, now: float) -> Timings:
        """For the final event at `now`: parts that follow each other and add up to the whole at most."""
        admitted = self.submitted_at if self.admitted_at is None else self.admitted_at
        first = admitted if self.first_step_at is None else self.first_step_at
        last = first if self.last_step_at is None else self.last_step_at
        decoded = last if self.last_decode_at is None else max(last, self.last_decode_at)
        return Timings(
            queued_s=admitted - self.submitted_at,
            load_s=self.load_s,
            encode_s=self.encode_s,
            denoise_s=last - first,
            decode_s=decoded - last,
            encode_image_s=now - decoded,
            total_s=now - self.submitted_at,
        )


@dataclass(slots=True, kw_only=True)
class HeldRequest:
    """One request."""

    request: ImageRequest
    passes: tuple[Pass, ...]
    keys: list[BatchKey]
    """Of each pass; encoding may add a shape to it."""
    images: list[HeldImage]
    spent: Spent
    steps: tuple[int, ...]
    """Of one image in each pass."""
    on_pixels: OnPixels | None = None
    """Takes each image unencoded; None for image files in events."""
    on_between: OnPixels | None = None
    """Takes each image that is to come back larger."""
    conditioning: dict[int, Conditioning] = field(default_factory=dict)
    """Encoded prompts and pictures by pass; there from the first turn of a pass."""

    @classmethod
    def of(
        cls,
        request: ImageRequest,
        now: float,
        on_pixels: OnPixels | None = None,
        on_between: OnPixels | None = None,
    ) -> HeldRequest:
        """A request that has just come."""
        passes = passes_of(request)
        start = Start(end_at=passes[0].end_at)
        return cls(
            request=request,
            passes=passes,
            keys=[each.key for each in passes],
            images=[HeldImage(start=start) for _ in request.seeds],
            spent=Spent(submitted_at=now),
            steps=tuple(each.steps for each in passes),
            on_pixels=on_pixels,
            on_between=on_between,
        )

    @property
    def request_id(self) -> str:
        """The request's name."""
        return self.request.request_id

    def row_id(self, index: int) -> RowId:
        """What an image is called now."""
        return RowId(self.request_id, index, self.images[index].stage)

    def pass_of(self, index: int) -> Pass:
        """The pass in which an image is."""
        return self.passes[self.images[index].stage]

    def has_next_pass(self, index: int) -> bool:
        """Whether another pass follows for this image."""
        return self.images[index].stage + 1 < len(self.passes)

    def enter_next_pass(self, index: int, start: Start) -> None:
        """The image goes on from `start`, whose begin and end are filled in here."""
        image = self.images[index]
        upcoming = self.passes[image.stage + 1]
        self.images[index] = HeldImage(
            stage=image.stage + 1, start=replace(start, begin_at=upcoming.begin_at, end_at=upcoming.end_at)
        )

    def weights(self) -> set[str]:
        """Digests of all weights that it may still need on the device."""
        reached = min((image.stage for image in self.images if not image.is_delivered), default=0)
        return {digest for each in self.passes[reached:] for digest in each.weights}

    def awaits_steps_of(self, checkpoint: str) -> bool:
        """Whether an image of it has steps to do with these weights now."""
        return any(
            self.keys[image.stage].checkpoint == checkpoint for image in self.images if not image.is_denoised
        )

    def keys_to_encode(self) -> set[BatchKey]:
        """Keys whose next turn has to encode something for it first."""
        stages = {image.stage for image in self.images if not image.is_denoised}
        return {self.keys[stage] for stage in stages - self.conditioning.keys()}

    def repeated_turns(self, checkpoint: str) -> int:
        """Turns that are done again if this checkpoint's weights leave the device now."""
        lost = (
            image.row.sampler.steps_done
            for image in self.images
            if image.row
            and image.row.is_lost_with_weights
            and self.keys[image.stage].checkpoint == checkpoint
        )
        return max(lost, default=0)

    def progress(self) -> Progress:
        """Steps done so far over all images and passes."""
        return Progress(
            request_id=self.request_id,
            step=sum(map(self.steps_done, range(len(self.images)))),
            total=sum(self.steps) * len(self.images),
        )

    def steps_done(self, index: int) -> int:
        """Steps of one image that are done, over all passes."""
        image = self.images[index]
        before = sum(self.steps[: image.stage])
        most = self.steps[image.stage]
        if image.is_denoised:
            return before + most
        return before + (min(image.row.sampler.steps_done, most) if image.row else 0)

    def image_done(self, index: int, data: bytes) -> ImageDone:
        """The event for one image, of which `data` is the PNG file."""
        request = self.request
        return ImageDone(
            request_id=request.request_id,
            index=index,
            seed=request.seeds[index],
            data=data,
            media_type=PNG_MEDIA_TYPE,
            width=request.output_width,
            height=request.output_height,
        )
