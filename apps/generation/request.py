"""The dialect-neutral generation request: what every dialect translates to and services accept.

Knows units, ranges and defaults; knows nothing of HTTP, of the database or of any dialect's names.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

from apps.core.errors import InvalidField
from apps.generation.choices import Kind
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.sampler_facts import ANY_SCHEDULE, read_name, schedules_of

T = TypeVar("T")

STOCHASTIC_2M = (Sampler.DPMPP_2M_SDE, Sampler.DPMPP_2M_SDE_HEUN)
"""Samplers that are DPM++ 2M but for the noise they add."""

SIDE_MULTIPLE_PX = 8
MIN_SIDE_PX = 64
# Two latent pixels: the least the engine takes. Only strips of 1 to 16 and longer come near it.
MIN_DENOISED_PX = 16
MAX_SIDE_PX = 2048
MAX_STEPS = 150
MAX_GUIDANCE_SCALE = 30.0
MAX_IMAGES = 15
MAX_PROMPT_CHARS = 10_000
MAX_LORAS = 8
MAX_LORA_SCALE = 4.0
MAX_EMBEDDINGS = 16
# Seeds are what every client can carry in a JSON number and torch accepts; image i adds i to it.
MAX_SEED = 2**32 - 1
# Drawn seeds stay in what signed 32-bit clients can send back.
MAX_DRAWN_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraWish:
    """One LoRA as its caller names it."""

    name: str
    """Name or alias in the catalogue."""
    scale: float = 1.0
    """-4 to 4; 1 is as trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One request as its caller meant it; `None` means "the checkpoint's own default"."""

    checkpoint: str
    """Name or alias in the catalogue."""
    prompt: str
    """1 to 10,000 characters."""
    kind: Kind = Kind.TXT2IMG
    negative_prompt: str | None = None
    width: int | None = None
    """Pixels, 64 to 2048, a multiple of 8."""
    height: int | None = None
    aspect_ratio: tuple[int, int] | None = None
    """(wide, high), both from 1; decides the sides that are not given, see `resolve`."""
    num_images: int = 1
    """1 to 15; image i uses seed + i."""
    steps: int | None = None
    """1 to 150."""
    guidance_scale: float | None = None
    """0 to 30; at 1 or below there is no guidance."""
    seed: int | None = None
    """0 to 2**32 - 1; None draws one and reports it."""
    sampler: Sampler | None = None
    schedule: SigmaSchedule | None = None
    """Counts with a `sampler` only: without one, both are the checkpoint's own."""
    loras: tuple[LoraWish, ...] = ()
    """At most 8, each once."""
    embeddings: tuple[str, ...] = ()
    """Textual inversions that the prompts may name; at most 16."""
    vae: str | None = None
    """An autoencoder in place of the checkpoint's own."""

    def __post_init__(self) -> None:
        _require_text("prompt", self.prompt, minimum=1)
        if self.negative_prompt is not None:
            _require_text("negative_prompt", self.negative_prompt, minimum=0)
        if not self.checkpoint:
            raise InvalidField(field="checkpoint", problem="is required")
        _require_storable("checkpoint", self.checkpoint)
        for field in ("width", "height"):
            _require_side(field, getattr(self, field))
        _require_range("num_images", self.num_images, 1, MAX_IMAGES)
        _require_range("steps", self.steps, 1, MAX_STEPS)
        _require_range("guidance_scale", self.guidance_scale, 0.0, MAX_GUIDANCE_SCALE)
        _require_range("seed", self.seed, 0, MAX_SEED)
        _require_loras(self.loras)
        if len(self.embeddings) > MAX_EMBEDDINGS:
            raise InvalidField(
                field="embeddings", problem=f"must be at most {MAX_EMBEDDINGS}, not {len(self.embeddings)}"
            )
        for name in self.embeddings:
            _require_text("embeddings", name, minimum=1)
        _require_storable("vae", self.vae or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointDefaults:
    """What a checkpoint fills in where a request is silent, and the sizes it can make."""

    native_px: int
    """Side length the checkpoint was trained at."""
    min_side_px: int
    max_side_px: int
    """Longest side of a finished image."""
    max_native_side_px: int
    """Longest side that is denoised; larger images are denoised smaller and enlarged."""
    steps: int
    guidance_scale: float
    sampler: Sampler
    negative_prompt: str = ""
    schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC
    samplers: tuple[Sampler, ...] = tuple(Sampler)
    """Those the checkpoint's family can use."""
    schedules: frozenset[SigmaSchedule] = ANY_SCHEDULE
    """Those the checkpoint's family can use; not every sampler takes each of them."""
    side_multiple_px: int = SIDE_MULTIPLE_PX
    """What denoised sides are multiples of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedLora:
    """One LoRA as the worker will use it."""

    entry_id: int
    name: str
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedEntry:
    """Another catalogue entry as the worker will use it."""

    entry_id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedAdapters:
    """What changes the checkpoint for one request; all of it fits the checkpoint's family."""

    loras: tuple[UsedLora, ...] = ()
    embeddings: tuple[UsedEntry, ...] = ()
    vae: UsedEntry | None = None

    @property
    def entry_ids(self) -> set[int]:
        """Primary keys of every entry in here."""
        entries = [*self.embeddings, *([self.vae] if self.vae else [])]
        return {lora.entry_id for lora in self.loras} | {entry.entry_id for entry in entries}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read back what `asdict` wrote; Any: JSON."""
        vae = stored["vae"]
        return cls(
            loras=tuple(UsedLora(**each) for each in stored["loras"]),
            embeddings=tuple(UsedEntry(**each) for each in stored["embeddings"]),
            vae=UsedEntry(**vae) if vae else None,
        )


NO_ADAPTERS = UsedAdapters()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRequest:
    """A request with nothing left open: what the job row stores and the worker runs."""

    kind: Kind
    checkpoint: str
    prompt: str
    negative_prompt: str
    width: int
    """Of the finished image, pixels."""
    height: int
    denoised_width: int
    """Of the image that leaves the VAE, pixels; a multiple of 8."""
    denoised_height: int
    num_images: int
    steps: int
    guidance_scale: float
    seed: int
    sampler: Sampler
    schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC
    adapters: UsedAdapters = NO_ADAPTERS

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed an image, wrapping at the end of the range."""
        return tuple((self.seed + index) % (MAX_SEED + 1) for index in range(self.num_images))

    def to_json(self) -> dict[str, Any]:
        """For the job row. Any: nested JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote. Raises TypeError for anything else. Any: JSON."""
        values = dict(stored)
        values["kind"] = Kind(str(values["kind"]))
        # Rows of versions before schedules have it in the sampler's name.
        sampler, schedule = read_name(str(values["sampler"]))
        values["sampler"], values["schedule"] = sampler, SigmaSchedule(values.get("schedule", schedule))
        # Rows of versions before adapters have none.
        if "adapters" in stored:
            values["adapters"] = UsedAdapters.from_json(stored["adapters"])
        return cls(**values)


def resolve(
    request: GenerationRequest, defaults: CheckpointDefaults, adapters: UsedAdapters = NO_ADAPTERS
) -> ResolvedRequest:
    """Fill in the checkpoint's defaults, draw a seed. Raises InvalidField beyond the checkpoint's sizes."""
    width, height = _asked_size(request, native_px=defaults.native_px)
    for field, side in (("width", width), ("height", height)):
        if not defaults.min_side_px <= side <= defaults.max_side_px:
            allowed = f"{defaults.min_side_px} to {defaults.max_side_px}"
            raise InvalidField(
                field=field, problem=f"must be {allowed} for model {request.checkpoint}, not {side}"
            )
    denoised_width, denoised_height = denoised_size(
        width, height, longest_px=defaults.max_native_side_px, multiple_px=defaults.side_multiple_px
    )
    negative_prompt = request.negative_prompt
    sampler, schedule = _usable_sampler(request.sampler, request.schedule, defaults)
    return ResolvedRequest(
        kind=request.kind,
        checkpoint=request.checkpoint,
        prompt=request.prompt,
        negative_prompt=defaults.negative_prompt if negative_prompt is None else negative_prompt,
        width=width,
        height=height,
        denoised_width=denoised_width,
        denoised_height=denoised_height,
        num_images=request.num_images,
        steps=request.steps or defaults.steps,
        guidance_scale=_given(request.guidance_scale, defaults.guidance_scale),
        seed=_given(request.seed, secrets.randbelow(MAX_DRAWN_SEED + 1)),
        sampler=sampler,
        schedule=schedule,
        adapters=adapters,
    )


def _usable_sampler(
    asked: Sampler | None, schedule: SigmaSchedule | None, defaults: CheckpointDefaults
) -> tuple[Sampler, SigmaSchedule]:
    """The asked ones where the family has them, else the plain sampler, else the checkpoint's own.

    No refusal: clients send the same scheduler with every model, as hosted services let them, and the
    answer names the sampler and the schedule that were used.
    """
    if asked is None:
        return defaults.sampler, defaults.schedule
    plain = Sampler.DPMPP_2M if asked in STOCHASTIC_2M else asked
    for candidate in (asked, plain):
        if candidate in defaults.samplers:
            usable = defaults.schedules & schedules_of(candidate)
            return candidate, schedule if schedule in usable else SigmaSchedule.AUTOMATIC
    return defaults.sampler, defaults.schedule


def _asked_size(request: GenerationRequest, *, native_px: int) -> tuple[int, int]:
    """Given sides as they are; a missing one follows the aspect ratio (1:1 if there is none).

    With neither side given, as many pixels as the checkpoint's native square, in the asked ratio.
    """
    wide, high = request.aspect_ratio or (1, 1)
    width, height = request.width, request.height
    if width is None and height is None:
        unit = native_px / math.sqrt(wide * high)
        return _nearest_side(wide * unit), _nearest_side(high * unit)
    if height is None:
        assert width is not None
        return width, _nearest_side(width * high / wide)
    return width or _nearest_side(height * wide / high), height


def denoised_size(
    width: int, height: int, *, longest_px: int, multiple_px: int = SIDE_MULTIPLE_PX
) -> tuple[int, int]:
    """The size to denoise at: the asked one, or its proportions with the longer side at `longest_px`.

    Both sides are multiples of `multiple_px`; the finished image is resized where that changed them.
    """
    longest = max(width, height)
    # A limit between two multiples would otherwise be rounded up past itself.
    longest_px -= longest_px % multiple_px
    scale = min(1.0, longest_px / longest)
    return (
        max(MIN_DENOISED_PX, _nearest_side(width * scale, multiple_px)),
        max(MIN_DENOISED_PX, _nearest_side(height * scale, multiple_px)),
    )


def _nearest_side(side_px: float, multiple_px: int = SIDE_MULTIPLE_PX) -> int:
    return max(multiple_px, round(side_px / multiple_px) * multiple_px)


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def _require_text(field: str, value: str, *, minimum: int) -> None:
    if len(value.strip()) < minimum:
        raise InvalidField(field=field, problem="is required")
    if len(value) > MAX_PROMPT_CHARS:
        raise InvalidField(
            field=field, problem=f"must be at most {MAX_PROMPT_CHARS} characters, not {len(value)}"
        )
    _require_storable(field, value)


def _require_storable(field: str, value: str) -> None:
    """PostgreSQL stores neither, so that either would end as a server error."""
    if "\0" in value:
        raise InvalidField(field=field, problem="must not contain the character NUL (U+0000)")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidField(field=field, problem="must not contain half of a surrogate pair")


def _require_loras(loras: tuple[LoraWish, ...]) -> None:
    if len(loras) > MAX_LORAS:
        raise InvalidField(field="loras", problem=f"must be at most {MAX_LORAS}, not {len(loras)}")
    for lora in loras:
        _require_text("loras", lora.name, minimum=1)
        _require_range("lora_scale", lora.scale, -MAX_LORA_SCALE, MAX_LORA_SCALE)
    names = [lora.name for lora in loras]
    if len(set(names)) < len(names):
        raise InvalidField(field="loras", problem="must name each LoRA once")


def _require_side(field: str, value: int | None) -> None:
    _require_range(field, value, MIN_SIDE_PX, MAX_SIDE_PX)
    if value is not None and value % SIDE_MULTIPLE_PX:
        raise InvalidField(field=field, problem=f"must be a multiple of {SIDE_MULTIPLE_PX}, not {value}")


def _require_range(field: str, value: float | None, lowest: float, highest: float) -> None:
    # NaN compares false with everything, so this refuses it as well.
    if value is not None and not lowest <= value <= highest:
        raise InvalidField(field=field, problem=f"must be {lowest} to {highest}, not {value}")
