"""The parts of a generation request, each as its caller means it. Ranges are checked at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from apps.core.errors import InvalidField
from apps.generation.choices import Balance, ControlType, FaceChoice, Fill, Replacement
from apps.generation.field_rules import require_range, require_storable, require_text
from gpu_runtime.messages import Enlarging, Sampler, SigmaSchedule

MAX_CONTROL_SCALE = 5.0
MAX_IP_SCALE = 2.0
MAX_LORA_SCALE = 4.0
MAX_EXPAND_PX = 2048
MAX_OVERLAP_PX = 256
MAX_FEATHER_PX = 256
MAX_UPSCALED_PX = 8192
UPSCALE_FACTORS = (2, 3, 4, 8)
MAX_HIRES_SCALE = 4.0
MAX_HIRES_STEPS = 150
MIN_NOISE_PX = 64
MAX_NOISE_PX = 2048
MAX_FACE_WISHES = 2
LANCZOS = "lanczos"
NEAREST = "nearest"
LATENT = "latent"
RESAMPLING = (LANCZOS, NEAREST, LATENT)
"""Words that stand where an upscaler's name may stand."""
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPicture:
    """A picture that `pictures.take_picture` has checked, normalised and stored."""

    digest: str
    """SHA-256 of the stored file, in hexadecimal; its name in the store."""
    width: int
    """Pixels, upright: the orientation of its EXIF is applied."""
    height: int
    has_alpha: bool
    size_bytes: int
    media_type: str
    """Of the stored file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraWish:
    """One LoRA as its caller names it."""

    name: str
    """Name or alias in the catalogue."""
    scale: float = 1.0
    """-4 to 4; 1 is as trained."""

    def __post_init__(self) -> None:
        require_text("loras", self.name, minimum=1)
        require_range("lora_scale", self.scale, -MAX_LORA_SCALE, MAX_LORA_SCALE)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariationWish:
    """Images that begin with a noise between those of two seeds, or with that of another size."""

    seed: int | None = None
    """The second seed, 0 to 2**32 - 1; image i uses seed + i. None draws one and reports it."""
    strength: float = 0.0
    """0 is the noise of the request's seed, 1 that of the second; above 0 all images have one first seed."""
    from_width: int | None = None
    """Pixels, 64 to 2048: begin with the noise that an image of this size has, in the middle."""
    from_height: int | None = None

    def __post_init__(self) -> None:
        require_range("variation_seed", self.seed, 0, 2**32 - 1)
        require_range("variation_strength", self.strength, 0.0, 1.0)
        for field in ("from_width", "from_height"):
            require_range(f"variation_{field}", getattr(self, field), MIN_NOISE_PX, MAX_NOISE_PX)
        if (self.from_width is None) != (self.from_height is None):
            missing = "variation_from_width" if self.from_width is None else "variation_from_height"
            raise InvalidField(field=missing, problem="is required beside the other side")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixWish:
    """Keep the layout of the image and fill it with what the prompt says (MagicMix)."""

    share: float = 0.5
    """Of the prompt in each mixture, 0 to 1; the rest is the image."""
    until: float = 0.3
    """Share of the steps, counted from the last one, that are left to the prompt; at most `strength`."""

    def __post_init__(self) -> None:
        require_range("mix_share", self.share, 0.0, 1.0)
        require_range("mix_until", self.until, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskWish:
    """How a mask is read, and what lies under it. White is made anew."""

    is_inverted: bool = False
    """Black is made anew instead."""
    blur_px: int = 0
    """Radius by which the edge is softened, 0 to 256 pixels of the result."""
    grow_px: int = 0
    """How far the white reaches out, 0 to 256 pixels of the result."""
    from_alpha: bool = False
    """Transparent counts as white, whatever its colour."""
    fill: Fill = Fill.ORIGINAL
    is_only_masked: bool = False
    """Work on the surroundings of the mask at full size, not on the whole picture."""
    padding_px: int = 32
    """With `is_only_masked`: how much around the mask is seen, 0 to 256."""

    def __post_init__(self) -> None:
        for field in ("blur_px", "grow_px", "padding_px"):
            require_range(f"mask_{field}", getattr(self, field), 0, MAX_FEATHER_PX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandWish:
    """By how many pixels a picture grows at each side, 0 to 2048 each and at least one in all."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0
    overlap_px: int = 16
    """How far the new reaches into the old, 0 to 256."""

    def __post_init__(self) -> None:
        for side in ("left", "right", "top", "bottom"):
            require_range(f"expand_{side}", getattr(self, side), 0, MAX_EXPAND_PX)
        if not self.left + self.right + self.top + self.bottom:
            raise InvalidField(field="expand", problem="must be above 0 at one side at least")
        require_range("expand_overlap", self.overlap_px, 0, MAX_OVERLAP_PX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlWish:
    """One ControlNet and the picture it follows."""

    picture: StoredPicture
    type: ControlType
    model: str = ""
    """Name or alias in the catalogue; "" is the one of this type and of the checkpoint's family."""
    is_hint: bool = False
    """The picture is the map itself; else the type's detector makes it."""
    scale: float = 1.0
    """0 to 5."""
    start: float = 0.0
    """Share of the steps after which it begins to act, 0 to 1."""
    end: float = 1.0
    """Share of the steps after which it no longer acts, above `start`."""
    resolution_px: int = 512
    """Shorter side at which the detector works, 64 to 2048."""
    threshold_a: float | None = None
    """The detector's own; None is its default."""
    threshold_b: float | None = None
    balance: Balance = Balance.BALANCED

    def __post_init__(self) -> None:
        require_storable("controls", self.model)
        require_range("control_scale", self.scale, 0.0, MAX_CONTROL_SCALE)
        require_range("control_start", self.start, 0.0, 1.0)
        require_range("control_end", self.end, 0.0, 1.0)
        if not self.start < self.end:
            raise InvalidField(field="control_end", problem=f"must be above {self.start}, not {self.end}")
        _require_detector_range(self.resolution_px, self.threshold_a, self.threshold_b)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectWish:
    """A detector by itself."""

    type: ControlType
    resolution_px: int = 512
    """Shorter side at which it works, 64 to 2048; the map has the picture's size."""
    threshold_a: float | None = None
    threshold_b: float | None = None

    def __post_init__(self) -> None:
        _require_detector_range(self.resolution_px, self.threshold_a, self.threshold_b)


def _require_detector_range(resolution_px: int, *thresholds: float | None) -> None:
    require_range("resolution", resolution_px, 64, 2048)
    for threshold in thresholds:
        require_range("threshold", threshold, 0.0, 1000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class IpAdapterWish:
    """Pictures that a request is prompted with."""

    name: str
    """Name or alias in the catalogue."""
    pictures: tuple[StoredPicture, ...]
    """1 to 10."""
    scale: float = 0.6
    """0 to 2."""

    def __post_init__(self) -> None:
        require_text("ip_adapters", self.name, minimum=1)
        require_range("ip_adapter_pictures", len(self.pictures), 1, 10)
        require_range("ip_adapter_scale", self.scale, 0.0, MAX_IP_SCALE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinerWish:
    """A second checkpoint that does the last steps."""

    checkpoint: str
    switch_at: float = 0.8
    """Share of the steps that the first checkpoint does, above 0 and below 1."""

    def __post_init__(self) -> None:
        require_text("refiner", self.checkpoint, minimum=1)
        if not 0 < self.switch_at < 1:
            raise InvalidField(
                field="refiner_switch_at", problem=f"must be above 0 and below 1, not {self.switch_at}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HiresWish:
    """A second pass at a larger size, begun from the enlarged result of the first."""

    scale: float = 2.0
    """Above 1 to 4; counts unless width or height is given."""
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    """Of the second schedule, 1 to 150; None is as many as the first has."""
    strength: float = 0.7
    """How much of the second pass is new, above 0 to 1."""
    upscaler: str = ""
    """A name in the catalogue; "nearest", "lanczos" and "" resample the image, "latent" the latents."""
    prompt: str | None = None
    """Of the second pass; None is that of the first, with its LoRAs either way."""
    negative_prompt: str | None = None
    sampler: Sampler | None = None
    """Of the second pass; None is that of the first, with its schedule."""
    schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC
    """Counts with a sampler."""

    def __post_init__(self) -> None:
        if not 1 < self.scale <= MAX_HIRES_SCALE:
            problem = f"must be above 1 and at most {MAX_HIRES_SCALE:g}, not {self.scale}"
            raise InvalidField(field="hires_scale", problem=problem)
        require_range("hires_steps", self.steps, 1, MAX_HIRES_STEPS)
        if not 0 < self.strength <= 1:
            problem = f"must be above 0 and at most 1, not {self.strength}"
            raise InvalidField(field="hires_strength", problem=problem)
        require_storable("hires_upscaler", self.upscaler)
        require_text("hires_prompt", self.prompt or "", minimum=0)
        require_text("hires_negative_prompt", self.negative_prompt or "", minimum=0)

    @property
    def enlarging(self) -> Enlarging:
        """By which way; OPERATIONS is the upscaler of that name."""
        return _ENLARGING.get(self.upscaler.lower(), Enlarging.OPERATIONS)


_ENLARGING: Final = {
    "": Enlarging.LANCZOS,
    LANCZOS: Enlarging.LANCZOS,
    NEAREST: Enlarging.NEAREST,
    LATENT: Enlarging.LATENTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleWish:
    """A picture or each image of a request, enlarged by a model. Neither factor nor side: four times."""

    factor: int | None = None
    """2, 3, 4 or 8."""
    width: int | None = None
    """1 to 8192; with one side alone the other follows in proportion."""
    height: int | None = None
    upscaler: str = ""
    """Name in the catalogue; "" is Real-ESRGAN x4plus, "lanczos" resamples without a model."""
    is_face_enhanced: bool = False
    """Faces are restored afterwards, as by a FaceWish."""

    def __post_init__(self) -> None:
        require_storable("upscaler", self.upscaler)
        if self.factor is not None and self.factor not in UPSCALE_FACTORS:
            raise InvalidField(field="upscale_factor", problem=f"must be 2, 3, 4 or 8, not {self.factor}")
        require_range("upscale_width", self.width, 1, MAX_UPSCALED_PX)
        require_range("upscale_height", self.height, 1, MAX_UPSCALED_PX)
        if self.factor is not None and (self.width or self.height):
            raise InvalidField(field="upscale_factor", problem="cannot be combined with a width or height")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundWish:
    """What stands in front, cut out; or the mask of it."""

    picture: StoredPicture | None = None
    """What is put behind instead of nothing."""
    colour: str = ""
    """#rrggbb to put behind; "" leaves it transparent."""
    only_mask: bool = False
    inverse_mask: bool = False
    """Remove what stands in front instead."""
    post_process_mask: bool = False
    alpha_matting: bool = False
    alpha_matting_foreground_threshold: int = 240
    """0 to 255."""
    alpha_matting_background_threshold: int = 20
    alpha_matting_erode_size: int = 5
    """0 to 100 pixels."""

    def __post_init__(self) -> None:
        if self.colour and COLOUR.fullmatch(self.colour) is None:
            problem = f"must be #rrggbb in lower case, not {self.colour[:20]!r}"
            raise InvalidField(field="background_colour", problem=problem)
        if self.colour and self.picture is not None:
            problem = "cannot be combined with a background picture"
            raise InvalidField(field="background_colour", problem=problem)
        for end in ("foreground", "background"):
            field = f"alpha_matting_{end}_threshold"
            require_range(field, getattr(self, field), 0, 255)
        require_range("alpha_matting_erode_size", self.alpha_matting_erode_size, 0, 100)

    @property
    def is_transparent(self) -> bool:
        """Whether the result has an alpha channel."""
        return not (self.only_mask or self.colour or self.picture)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSwapWish:
    """Faces of the request's image that get the face of another picture."""

    source: StoredPicture
    reference: StoredPicture | None = None
    """A picture of the face that is to be replaced."""
    which: FaceChoice = FaceChoice.LARGEST

    def __post_init__(self) -> None:
        if (self.which is FaceChoice.REFERENCE) != (self.reference is not None):
            raise InvalidField(
                field="reference", problem="is required to choose a face by it, and of no use otherwise"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceWish:
    """Every face that is found made clear by a network; a picture without faces stays as it is."""

    model: str = ""
    """Name in the catalogue, or gfpgan, codeformer or restoreformer for one of that kind; "" is any."""
    visibility: float = 1.0
    """0 to 1: how much of the restored face is laid over the picture."""
    weight: float = 0.5
    """0 to 1, for codeformer: 0 restores the most, 1 keeps the most of the face that was there."""
    is_after_upscale: bool = False

    def __post_init__(self) -> None:
        require_storable("face_model", self.model)
        require_range("face_visibility", self.visibility, 0.0, 1.0)
        require_range("face_weight", self.weight, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyWish:
    """What the caller wants of the image check; the account's own rule comes on top."""

    is_checked: bool = False
    replacement: Replacement = Replacement.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputWish:
    """The file that comes out."""

    media_type: str = "image/png"
    quality: int = 95
    """1 to 100; of JPEG and WebP, where 100 is lossless WebP."""
    is_marked: bool = True
    """Whether the file says that it was made by a model."""

    def __post_init__(self) -> None:
        if self.media_type not in MEDIA_TYPES:
            problem = f"must be {', '.join(MEDIA_TYPES)}, not {self.media_type[:40]}"
            raise InvalidField(field="output_media_type", problem=problem)
        require_range("output_quality", self.quality, 1, 100)
