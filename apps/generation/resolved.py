"""The request as the job row stores it and the worker runs it: nothing is left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from apps.generation import stored_json
from apps.generation.choices import Kind, Resize
from apps.generation.request import MAX_SEED
from apps.generation.sizes import Size
from apps.generation.used import (
    NO_ADAPTERS,
    Assets,
    UsedAdapters,
    UsedBackground,
    UsedCheck,
    UsedControl,
    UsedDetect,
    UsedFaces,
    UsedFaceSwap,
    UsedIpAdapter,
    UsedRefiner,
    UsedUpscale,
    entry_ids_in,
    pictures_in,
)
from apps.generation.wishes import ExpandWish, MaskWish, MixWish, OutputWish, StoredPicture, VariationWish
from gpu_runtime.messages import Enlarging, PromptStyle, Sampler, SigmaSchedule, Tier
from gpu_runtime.sampler_facts import read_name


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedHires:
    """The second pass; sizes are denoised ones."""

    width: int
    height: int
    steps: int
    strength: float
    output_width: int
    """Of the image that comes out of it, pixels."""
    output_height: int
    enlarges_latents: bool
    """Instead of the image. Without a default, as versions expect it that know no other way."""
    is_nearest: bool = False
    """The image is enlarged by repeating its pixels. With neither and no `assets`: resampled (Lanczos)."""
    assets: Assets = ()
    """"model" enlarges the image; `scale` and `variant` as in UsedUpscale."""
    scale: int = 1
    variant: str = ""
    prompt: str | None = None
    """Of the second pass, as the other three, where they are not those of the first."""
    negative_prompt: str | None = None
    sampler: Sampler | None = None
    schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC
    """Counts with a sampler."""

    @property
    def enlarging(self) -> Enlarging:
        """How the result of the first pass takes this size."""
        if self.enlarges_latents:
            return Enlarging.LATENTS
        if self.assets:
            return Enlarging.OPERATIONS
        return Enlarging.NEAREST if self.is_nearest else Enlarging.LANCZOS


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRequest:
    """A request with nothing left open. Fields without a comment are those of GenerationRequest.

    `steps` is 0 for kinds that denoise nothing, and for pictures that come back as they are (strength 0);
    sampler, guidance and prompt mean nothing then.
    """

    kind: Kind
    checkpoint: str
    """The catalogue's name; "" for kinds that denoise nothing."""
    prompt: str
    negative_prompt: str
    width: int
    """Of the image before it is enlarged, pixels; see `delivered_size`."""
    height: int
    denoised_width: int
    """Of the image that leaves the VAE, pixels; a multiple of 8."""
    denoised_height: int
    num_images: int
    """How many are delivered; 0 for kinds whose result is words."""
    steps: int
    guidance_scale: float
    seed: int
    sampler: Sampler
    variation: VariationWish | None = None
    schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC
    adapters: UsedAdapters = NO_ADAPTERS
    true_guidance_scale: float = 1.0
    clip_skip: int = 0
    prompt_style: PromptStyle = PromptStyle.PLAIN
    is_seamless: bool = False
    tier: Tier = Tier.STANDARD
    wants_previews: bool = False

    image: StoredPicture | None = None
    mask: StoredPicture | None = None
    mask_options: MaskWish = field(default_factory=MaskWish)
    references: tuple[StoredPicture, ...] = ()
    strength: float = 1.0
    mix: MixWish | None = None
    resize: Resize = Resize.STRETCH
    expand: ExpandWish | None = None
    controls: tuple[UsedControl, ...] = ()
    ip_adapters: tuple[UsedIpAdapter, ...] = ()
    refiner: UsedRefiner | None = None
    hires: UsedHires | None = None
    upscale: UsedUpscale | None = None
    background: UsedBackground | None = None
    face_swap: UsedFaceSwap | None = None
    faces: tuple[UsedFaces, ...] = ()
    detect: UsedDetect | None = None
    reader: Assets = ()
    """What writes captions, or finds what a text names."""
    text: str = ""
    check: UsedCheck | None = None
    output: OutputWish = field(default_factory=OutputWish)

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed an image, wrapping at the end of the range; all alike where their second ones differ."""
        if self.variation_seeds:
            return (self.seed,) * self.num_images
        return _counted(self.seed, self.num_images)

    @property
    def variation_seeds(self) -> tuple[int, ...]:
        """The second seed of each image; empty where it has no part in the noise."""
        variation = self.variation
        if variation is None or variation.seed is None or not variation.strength:
            return ()
        return _counted(variation.seed, self.num_images)

    @property
    def generated_size(self) -> Size:
        """Of the image as it comes out of the last pass of denoising."""
        if self.hires is not None:
            return self.hires.output_width, self.hires.output_height
        return self.width, self.height

    @property
    def delivered_size(self) -> Size:
        """Of the file."""
        if self.upscale is not None:
            return self.upscale.width, self.upscale.height
        return self.generated_size

    @property
    def entry_ids(self) -> set[int]:
        """Primary keys of every entry it uses besides its checkpoint."""
        return entry_ids_in(self)

    @property
    def pictures(self) -> Mapping[str, StoredPicture]:
        """Every picture it was given, by digest."""
        return pictures_in(self)

    def to_json(self) -> dict[str, Any]:
        """For the job row, with DIGESTS, by which the sweep asks. Any: nested JSON."""
        stored = stored_json.to_json(self)
        # What clients of the row look for.
        stored |= {"schedule": self.schedule, "adapters": asdict(self.adapters)}
        pictures = sorted(self.pictures)
        return stored | {DIGESTS: pictures} if pictures else stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote. Raises TypeError for anything else. Any: JSON."""
        values = {name: value for name, value in stored.items() if name != DIGESTS}
        # Rows of versions before schedules have it in the sampler's name.
        sampler, schedule = read_name(str(values["sampler"]))
        values["sampler"] = sampler
        values.setdefault("schedule", schedule)
        return stored_json.from_json(cls, values)


def _counted(first: int, count: int) -> tuple[int, ...]:
    return tuple((first + index) % (MAX_SEED + 1) for index in range(count))


DIGESTS = "picture_digests"
"""Key of the list of every picture's digest in a stored request."""
