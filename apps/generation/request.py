"""The dialect-neutral generation request: what every dialect translates to and services accept.

Knows units and ranges; knows nothing of HTTP, of the database or of any dialect's names. What goes with which
kind is in `kind_rules`, the parts are in `wishes`, what fills the gaps is in `resolving`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.core.errors import InvalidField
from apps.generation.choices import Kind, Resize
from apps.generation.field_rules import require_count, require_range, require_storable, require_text
from apps.generation.kind_rules import require_fitting_parts
from apps.generation.sizes import MAX_SIDE_PX, MIN_SIDE_PX, SIDE_MULTIPLE_PX
from apps.generation.wishes import (
    MAX_FACE_WISHES,
    BackgroundWish,
    ControlWish,
    DetectWish,
    ExpandWish,
    FaceSwapWish,
    FaceWish,
    HiresWish,
    IpAdapterWish,
    LoraWish,
    MaskWish,
    MixWish,
    OutputWish,
    RefinerWish,
    SafetyWish,
    StoredPicture,
    UpscaleWish,
    VariationWish,
)
from gpu_runtime.messages import PromptStyle, Sampler, SigmaSchedule, Tier

MAX_STEPS = 150
MAX_GUIDANCE_SCALE = 30.0
MAX_IMAGES = 15
MAX_LORAS = 8
MAX_EMBEDDINGS = 16
MAX_REFERENCES = 16
MAX_CONTROLS = 5
MAX_IP_ADAPTERS = 3
MAX_CLIP_SKIP = 11
# Seeds are what every client can carry in a JSON number and torch accepts; image i adds i to it.
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One request as its caller meant it; `None` means "not asked", and for figures "the model's own"."""

    kind: Kind = Kind.TXT2IMG
    checkpoint: str = ""
    """Name or alias in the catalogue; kinds that denoise nothing have none."""
    prompt: str = ""
    """1 to 32,000 characters, for kinds that denoise."""
    negative_prompt: str | None = None
    width: int | None = None
    """Pixels, 64 to 2048, a multiple of 8. With a picture and neither side: the picture's size."""
    height: int | None = None
    aspect_ratio: tuple[int, int] | None = None
    """(wide, high), both from 1; decides the sides that are not given, see `sizes.asked_size`."""
    num_images: int = 1
    """1 to 15; image i uses seed + i. 1 for kinds that denoise nothing."""
    steps: int | None = None
    """1 to 150."""
    guidance_scale: float | None = None
    """0 to 30; at 1 or below there is no guidance."""
    true_guidance_scale: float | None = None
    """1 to 30: guidance by the negative prompt, for checkpoints that take `guidance_scale` as an input."""
    seed: int | None = None
    """0 to 2**32 - 1; None draws one and reports it."""
    variation: VariationWish | None = None
    sampler: Sampler | None = None
    schedule: SigmaSchedule | None = None
    """Counts with a `sampler` only: without one, both are the checkpoint's own."""
    clip_skip: int | None = None
    """Last layers of the text encoder left out, 0 to 11; 0 is none."""
    prompt_style: PromptStyle = PromptStyle.PLAIN
    is_seamless: bool = False
    """Whether copies laid side by side show no seam."""
    tier: Tier = Tier.STANDARD
    wants_previews: bool = False
    loras: tuple[LoraWish, ...] = ()
    """At most 8, each once."""
    embeddings: tuple[str, ...] = ()
    """Textual inversions that the prompts may name; at most 16."""
    vae: str | None = None
    """An autoencoder in place of the checkpoint's own."""

    image: StoredPicture | None = None
    """What to begin from, to change, to enlarge, to look at; the target of a face swap."""
    mask: StoredPicture | None = None
    """White is made anew; see `mask_options`."""
    mask_options: MaskWish | None = None
    references: tuple[StoredPicture, ...] = ()
    """Pictures to edit from, at most 16; `image`, if given, is the first of them."""
    strength: float | None = None
    """0 to 1: how much of `image` is redone; 0 gives the picture back."""
    mix: MixWish | None = None
    """Which steps the image is mixed into, and how much of it; for UNets."""
    resize: Resize | None = None
    """How pictures take the asked size; None is to stretch them."""
    expand: ExpandWish | None = None
    controls: tuple[ControlWish, ...] = ()
    """At most 5."""
    ip_adapters: tuple[IpAdapterWish, ...] = ()
    """At most 3."""
    refiner: RefinerWish | None = None
    hires: HiresWish | None = None

    upscale: UpscaleWish | None = None
    background: BackgroundWish | None = None
    face_swap: FaceSwapWish | None = None
    faces: tuple[FaceWish, ...] = ()
    """At most 2, one after the other."""
    detect: DetectWish | None = None
    text: str = ""
    """What a mask is wanted of, or what is to be removed; for captions "short", "normal" or "long"."""
    safety: SafetyWish | None = None
    output: OutputWish = field(default_factory=OutputWish)

    def __post_init__(self) -> None:
        require_storable("checkpoint", self.checkpoint)
        require_text("prompt", self.prompt, minimum=0)
        require_text("text", self.text, minimum=0)
        if self.negative_prompt is not None:
            require_text("negative_prompt", self.negative_prompt, minimum=0)
        for side in ("width", "height"):
            _require_side(side, getattr(self, side))
        require_range("num_images", self.num_images, 1, MAX_IMAGES)
        require_range("steps", self.steps, 1, MAX_STEPS)
        require_range("guidance_scale", self.guidance_scale, 0.0, MAX_GUIDANCE_SCALE)
        require_range("true_guidance_scale", self.true_guidance_scale, 1.0, MAX_GUIDANCE_SCALE)
        require_range("seed", self.seed, 0, MAX_SEED)
        require_range("strength", self.strength, 0.0, 1.0)
        require_range("clip_skip", self.clip_skip, 0, MAX_CLIP_SKIP)
        self._require_counts()
        for name in self.embeddings:
            require_text("embeddings", name, minimum=1)
        require_storable("vae", self.vae or "")
        require_fitting_parts(self)

    def _require_counts(self) -> None:
        require_count("loras", len(self.loras), MAX_LORAS)
        require_count("embeddings", len(self.embeddings), MAX_EMBEDDINGS)
        require_count("controls", len(self.controls), MAX_CONTROLS)
        require_count("ip_adapters", len(self.ip_adapters), MAX_IP_ADAPTERS)
        require_count("faces", len(self.faces), MAX_FACE_WISHES)
        require_count("references", len(self.references), MAX_REFERENCES)
        names = [lora.name for lora in self.loras]
        if len(set(names)) < len(names):
            raise InvalidField(field="loras", problem="must name each LoRA once")


def _require_side(field: str, value: int | None) -> None:
    require_range(field, value, MIN_SIDE_PX, MAX_SIDE_PX)
    if value is not None and value % SIDE_MULTIPLE_PX:
        raise InvalidField(field=field, problem=f"must be a multiple of {SIDE_MULTIPLE_PX}, not {value}")
