"""What the engine remembers about a request between its submit() and its final event."""

from __future__ import annotations

from dataclasses import dataclass, field

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.families.family import Conditioning, Row
from gpu_runtime.images import PNG_MEDIA_TYPE
from gpu_runtime.messages import ImageDone, ImageRequest, Progress, Timings
from gpu_runtime.weights.family_facts import facts_of


@dataclass(slots=True, kw_only=True)
class HeldRequest:
    """One request. Times are monotonic seconds; None until the thing happened.

    Each image index is in exactly one place: not started, in `rows`, with the finisher, or in `delivered`.
    """

    request: ImageRequest
    key: BatchKey
    submitted_at: float
    admitted_at: float | None = None
    first_step_at: float | None = None
    last_step_at: float | None = None
    load_s: float = 0.0
    encode_s: float = 0.0
    conditioning: Conditioning | None = None
    """Encoded prompts; None until the first row is admitted."""
    rows: dict[int, Row] = field(default_factory=dict)
    """Images that have begun and still have steps to do, by index."""
    denoised: set[int] = field(default_factory=set)
    """Images whose steps are done, delivered or not."""
    delivered: set[int] = field(default_factory=set)
    """Images that were handed out as ImageDone."""

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.request.seeds)

    @property
    def forward_rows(self) -> int:
        """Denoiser rows that one image brings: two when guided by an unconditional row."""
        facts = facts_of(self.request.checkpoint.family)
        is_doubled = facts is None or facts.has_unconditional_rows
        return 2 if is_doubled and self.request.guidance_scale > 1 else 1

    @property
    def repeated_turns(self) -> int:
        """Turns that are done again if the weights leave the device now."""
        lost = (row.sampler.steps_done for row in self.rows.values() if row.is_lost_with_weights)
        return max(lost, default=0)

    def progress(self) -> Progress:
        """Steps done so far over all images."""
        done = sum(row.sampler.steps_done for row in self.rows.values())
        return Progress(
            request_id=self.request.request_id,
            step=done + len(self.denoised) * self.request.steps,
            total=self.request.steps * self.images,
        )

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

    def timings(self, now: float) -> Timings:
        """Where the time went, for the final event at `now`."""
        admitted = self.submitted_at if self.admitted_at is None else self.admitted_at
        first = admitted if self.first_step_at is None else self.first_step_at
        last = first if self.last_step_at is None else self.last_step_at
        return Timings(
            queued_s=admitted - self.submitted_at,
            load_s=self.load_s,
            encode_s=self.encode_s,
            denoise_s=last - first,
            decode_s=now - last,
            total_s=now - self.submitted_at,
        )
