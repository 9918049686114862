"""What requests may say and answers hold.

Made by `python -m tests.tools.client_schema`; not edited by hand. Requests are TypedDicts: the server refuses
what it does not know, by name. Answers are dataclasses whose fields all have defaults, so that client and
server need not be of the same version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Required, TypedDict

from darkroom.bodies import Body
from darkroom.pictures import Picture

Kind = Literal[
    "txt2img",
    "img2img",
    "inpaint",
    "outpaint",
    "controlnet",
    "edit",
    "upscale",
    "remove_background",
    "object_removal",
    "face_swap",
    "detect",
    "caption",
    "mask",
    "nsfw_check",
]

PICTURE_FIELDS = frozenset(["image", "mask", "picture", "pictures", "reference", "references", "source"])
"""Names of fields that hold pictures, wherever they stand."""


class Variation(TypedDict, total=False):
    """Of the field variation."""

    seed: int
    """The second seed; default: drawn, and reported."""
    strength: float
    """0 is the noise of the first seed, 1 of the second; default: 0."""
    from_width: int
    """Begin with the noise of an image of this size."""
    from_height: int
    """Beside from_width."""


class Lora(TypedDict, total=False):
    """Of the field lora."""

    name: Required[str]
    """In the catalogue."""
    scale: float
    """As trained is 1; default: 1."""


class MaskOptions(TypedDict, total=False):
    """Of the field mask_options."""

    inverted: bool
    """Black is made anew instead of white; default: false."""
    blur_px: int
    """Radius by which the edge is softened; default: 0."""
    grow_px: int
    """How far the white reaches out; default: 0."""
    from_alpha: bool
    """Transparent counts as white; default: false."""
    fill: Literal["original", "blur", "noise", "grey"]
    """What lies under the mask; default: original."""
    only_masked: bool
    """Work on the mask's surroundings alone; default: false."""
    padding_px: int
    """With only_masked: how much around it is seen; default: 32."""


class Mix(TypedDict, total=False):
    """Of the field mix."""

    share: float
    """Of the prompt in each mixture, the rest is the image; default: 0.5."""
    until: float
    """Share of the steps left to the prompt, at most strength; default: 0.3."""


class Expand(TypedDict, total=False):
    """Of the field expand."""

    left: int
    """Pixels; default: 0."""
    right: int
    """Pixels; default: 0."""
    top: int
    """Pixels; default: 0."""
    bottom: int
    """Pixels; default: 0."""
    overlap_px: int
    """How far the new reaches into the old; default: 16."""


class Control(TypedDict, total=False):
    """Of the field control."""

    picture: Required[Picture]
    """To follow, or to make the map of."""
    type: Required[
        Literal[
            "canny",
            "softedge",
            "scribble",
            "lineart",
            "openpose",
            "depth",
            "normal",
            "segmentation",
            "mlsd",
            "tile",
            "shuffle",
            "blur",
            "gray",
            "inpaint",
            "threshold",
            "face",
        ]
    ]
    """Kind of map."""
    resolution_px: int
    """Shorter side it works at; default: 512."""
    threshold_a: float
    """The detector's own."""
    threshold_b: float
    """The detector's own."""
    model: str
    """ControlNet by name; default: the one of this type and of the model's family."""
    is_hint: bool
    """The picture is the map itself; default: false."""
    scale: float
    """How much it counts; default: 1."""
    start: float
    """Share of the steps after which it begins to act; default: 0."""
    end: float
    """Share of the steps after which it no longer acts; default: 1."""
    balance: Literal["balanced", "prompt", "control"]
    """What counts more; default: balanced."""


class IpAdapter(TypedDict, total=False):
    """Of the field ip_adapter."""

    name: Required[str]
    """In the catalogue."""
    pictures: Required[Sequence[Picture]]
    """To prompt with."""
    scale: float
    """How much they count; default: 0.6."""


class Refiner(TypedDict, total=False):
    """Of the field refiner."""

    model: Required[str]
    """That does the last steps."""
    switch_at: float
    """Share of the steps that the first model does; default: 0.8."""


class Hires(TypedDict, total=False):
    """Of the field hires."""

    scale: float
    """Above 1; default: 2."""
    width: int
    """Instead of scale."""
    height: int
    """Instead of scale."""
    steps: int
    """Of the second pass; default: as many as the first has."""
    strength: float
    """How much of the second pass is new; default: 0.7."""
    upscaler: str
    """By name, or nearest, lanczos or latent; default: lanczos."""
    prompt: str
    """Of the second pass; default: that of the first."""
    negative_prompt: str
    """Of the second pass; default: that of the first."""
    sampler: Literal[
        "euler",
        "euler_a",
        "heun",
        "lms",
        "ipndm",
        "kdpm2",
        "kdpm2_a",
        "dpm_fast",
        "dpm_adaptive",
        "dpmpp_2m",
        "dpmpp_2m_sde",
        "dpmpp_2m_sde_heun",
        "dpmpp_3m_sde",
        "dpmpp_2s",
        "dpmpp_2s_a",
        "dpmpp_sde",
        "restart",
        "deis",
        "unipc",
        "ddim",
        "ddpm",
        "pndm",
        "lcm",
    ]
    """Of the second pass; default: that of the first."""
    schedule: Literal[
        "automatic",
        "uniform",
        "normal",
        "sgm_uniform",
        "simple",
        "ddim",
        "karras",
        "exponential",
        "polyexponential",
        "kl_optimal",
        "align_your_steps",
        "beta",
    ]
    """With a sampler of the second pass."""


class Upscale(TypedDict, total=False):
    """Of the field upscale."""

    factor: int
    """2, 3, 4 or 8; default: 4 if no side is given."""
    width: int
    """Instead of factor."""
    height: int
    """Instead of factor."""
    upscaler: str
    """In the catalogue, or lanczos; default: realesrgan-x4plus."""
    enhance_faces: bool
    """Faces as well; default: false."""


class Background(TypedDict, total=False):
    """Of the field background."""

    picture: Picture
    """To put behind; default: nothing, which is transparent."""
    colour: str
    """#rrggbb to put behind."""
    only_mask: bool
    """Give the mask instead; default: false."""
    inverse_mask: bool
    """Remove what stands in front instead; default: false."""
    post_process_mask: bool
    """Smooth the mask; default: false."""
    alpha_matting: bool
    """Finer edges; default: false."""
    alpha_matting_foreground_threshold: int
    """Surely front; default: 240."""
    alpha_matting_background_threshold: int
    """Surely behind; default: 20."""
    alpha_matting_erode_size: int
    """Pixels; default: 5."""


class Face(TypedDict, total=False):
    """Of the field face."""

    model: str
    """By name, or gfpgan, codeformer or restoreformer; default: any installed."""
    visibility: float
    """How much of the restored face is seen; default: 1."""
    weight: float
    """Codeformer: 0 restores the most, 1 the least; default: 0.5."""
    after_upscale: bool
    """In the enlarged image; default: false."""


class FaceSwap(TypedDict, total=False):
    """Of the field face_swap."""

    source: Required[Picture]
    """Whose face it shall be."""
    reference: Picture
    """Which face is replaced; with which: reference."""
    which: Literal["largest", "reference", "all"]
    """Faces that are replaced; default: largest."""


class Detect(TypedDict, total=False):
    """Of the field detect."""

    type: Required[
        Literal[
            "canny",
            "softedge",
            "scribble",
            "lineart",
            "openpose",
            "depth",
            "normal",
            "segmentation",
            "mlsd",
            "tile",
            "shuffle",
            "blur",
            "gray",
            "inpaint",
            "threshold",
            "face",
        ]
    ]
    """Kind of map."""
    resolution_px: int
    """Shorter side it works at; default: 512."""
    threshold_a: float
    """The detector's own."""
    threshold_b: float
    """The detector's own."""


class Safety(TypedDict, total=False):
    """Of the field safety."""

    check: bool
    """Look for unsuitable content; default: as the account's rule says."""
    replacement: Literal["blur", "sensitive_content_text", "pixelate", "black"]
    """What is shown instead; default: the image itself."""


class Output(TypedDict, total=False):
    """Of the field output."""

    media_type: Literal["image/png", "image/jpeg", "image/webp"]
    """Default: image/png."""
    quality: int
    """Of JPEG and WebP; default: 95."""
    marked: bool
    """The file says that it was made by a model; default: true."""


class JobFields(TypedDict, total=False):
    """What a job may say besides its kind."""

    model: str
    """Name or alias of the model; needed by kinds that denoise."""
    prompt: str
    """What to show; needed by kinds that denoise; nsfw_check: what is judged."""
    negative_prompt: str
    """What not to show; default: the model's own."""
    width: int
    """Pixels; default: the picture's, else the model's own."""
    height: int
    """Pixels; default: the picture's, else the model's own."""
    aspect_ratio: str
    """Decides the sides that are not given."""
    num_images: int
    """Image i uses seed + i; default: 1."""
    steps: int
    """Default: the model's own."""
    guidance_scale: float
    """Default: the model's own."""
    true_guidance_scale: float
    """By the negative prompt, for models that take guidance_scale as an input; default: none."""
    seed: int
    """Default: drawn, and reported."""
    variation: Variation
    """Noise between two seeds; default: none."""
    sampler: Literal[
        "euler",
        "euler_a",
        "heun",
        "lms",
        "ipndm",
        "kdpm2",
        "kdpm2_a",
        "dpm_fast",
        "dpm_adaptive",
        "dpmpp_2m",
        "dpmpp_2m_sde",
        "dpmpp_2m_sde_heun",
        "dpmpp_3m_sde",
        "dpmpp_2s",
        "dpmpp_2s_a",
        "dpmpp_sde",
        "restart",
        "deis",
        "unipc",
        "ddim",
        "ddpm",
        "pndm",
        "lcm",
    ]
    """Default: the model's own."""
    schedule: Literal[
        "automatic",
        "uniform",
        "normal",
        "sgm_uniform",
        "simple",
        "ddim",
        "karras",
        "exponential",
        "polyexponential",
        "kl_optimal",
        "align_your_steps",
        "beta",
    ]
    """With a sampler; default: the model's own."""
    clip_skip: int
    """Layers left out; default: 0."""
    prompt_style: Literal["plain", "weighted"]
    """How prompts are read; default: plain."""
    seamless: bool
    """Copies side by side show no seam; default: false."""
    tier: Literal["standard", "exact", "fast"]
    """What is given up for speed or paid for sameness; default: standard."""
    previews: bool
    """Events show what it looks like so far; default: false."""
    loras: Sequence[Lora]
    """Default: none."""
    embeddings: Sequence[str]
    """Textual inversions; default: none."""
    vae: str
    """An autoencoder in place of the model's own."""
    image: Picture
    """To begin from, to change, to enlarge, to look at."""
    mask: Picture
    """White is made anew."""
    mask_options: MaskOptions
    """How the mask is read."""
    references: Sequence[Picture]
    """Pictures to edit from."""
    strength: float
    """How much of the image is redone."""
    mix: Mix
    """Keep the image's layout, change what it shows; default: no."""
    resize: Literal["stretch", "crop", "pad"]
    """How pictures take the asked size; default: stretch."""
    expand: Expand
    """Outpaint: by how much it grows."""
    controls: Sequence[Control]
    """Default: none."""
    ip_adapters: Sequence[IpAdapter]
    """Default: none."""
    refiner: Refiner
    """A second model; default: none."""
    hires: Hires
    """A second pass at a larger size; default: none."""
    upscale: Upscale
    """Of a picture, or after any generation; default: none."""
    background: Background
    """Cut out what stands in front; default: no."""
    faces: Sequence[Face]
    """Faces made clear afterwards; default: none."""
    face_swap: FaceSwap
    """Faces of image are replaced."""
    detect: Detect
    """The map that a ControlNet would follow."""
    text: str
    """Mask, object_removal: what to find; caption: short, normal or long."""
    safety: Safety
    """Default: the account's rule."""
    output: Output
    """The file that comes out."""
    track_id: str | int
    """A mark of your own, to find the job by."""
    webhook: str
    """Address that is told when the job has ended."""


class JobFilters(TypedDict, total=False):
    """Which jobs a list shows."""

    state: (
        Literal["queued", "running", "succeeded", "failed", "canceled", "quarantined", "expired"]
        | Sequence[Literal["queued", "running", "succeeded", "failed", "canceled", "quarantined", "expired"]]
    )
    """States, with commas."""
    kind: (
        Literal[
            "txt2img",
            "img2img",
            "inpaint",
            "outpaint",
            "controlnet",
            "edit",
            "upscale",
            "remove_background",
            "object_removal",
            "face_swap",
            "detect",
            "caption",
            "mask",
            "nsfw_check",
        ]
        | Sequence[
            Literal[
                "txt2img",
                "img2img",
                "inpaint",
                "outpaint",
                "controlnet",
                "edit",
                "upscale",
                "remove_background",
                "object_removal",
                "face_swap",
                "detect",
                "caption",
                "mask",
                "nsfw_check",
            ]
        ]
    )
    """Kinds, with commas."""
    track_id: str
    """Your own mark."""
    queued_from: str
    """Queued then or later."""
    queued_before: str
    """Queued before."""


class ModelFilters(TypedDict, total=False):
    """Which models a list shows."""

    q: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Words that must all begin a word of the model; best matches first unless `order` says otherwise."""
    kind: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """One or more of checkpoint, lora, controlnet, vae, embedding, text_encoder, ip_adapter, upscaler,
    background_removal, face, preprocessor, safety.
    """
    family: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """One or more base models."""
    variant: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """E.g. turbo, inpaint."""
    tag: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Tags, all of which a model must have."""
    licence: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Exactly this licence."""
    commercial: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """True or false: whether commercial use is allowed."""
    provider: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Who offers the weights."""
    visibility: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """One of public, accounts, private."""
    mine: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """True: the account's own models only."""
    order: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """One of most_used, latest, name, name_descending, relevance."""
    all: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """True: models of all accounts, disabled ones too; needs the scope models:admin."""
    enabled: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """True or false; with `all`."""
    owner: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Slug of an account; with `all`."""


class ImportFilters(TypedDict, total=False):
    """Which imports a list shows."""

    state: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """One or more of queued, running, succeeded, failed, canceled, with commas."""
    all: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """True: imports of all accounts and of operators; needs the scope models:admin."""


class ImportFields(TypedDict, total=False):
    """What an import may say besides where from."""

    name: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """What clients will send as model_id; made from the source when left out."""
    aliases: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Further names."""
    title: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """For people."""
    description: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """For people."""
    kind: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """What it must be; anything else is refused."""
    family: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Base model it must fit; any other is refused."""
    revision: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Branch, tag or commit of a repository; its main branch when left out."""
    file: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """One file of a repository."""
    files: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Shell patterns of the repository's files to take."""
    sha256: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Of the one file that is fetched."""
    precision: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Keep, float16 or bfloat16."""
    visibility: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Public needs the scope models:admin; private by default."""
    licence: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Where the source does not say."""
    commercial_use: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Where the licence does not say."""
    tags: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """For searching."""
    trigger_words: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Words that call it up."""
    defaults: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Steps, guidance_scale, sampler, negative_prompt."""
    details: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Input_px, mean, std of a cut-out network, where its name does not tell."""
    token: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Credential for the source; forgotten when the import ends."""
    force: str | int | float | bool | Sequence[str] | Mapping[str, Any]
    """Replace the weights of the model with this name."""


class KeyFields(TypedDict, total=False):
    """What a new key may say besides its name."""

    scopes: Sequence[
        Literal[
            "images:generate",
            "jobs:read",
            "jobs:cancel",
            "models:read",
            "models:write",
            "models:admin",
            "webhooks:write",
            "keys:write",
        ]
    ]
    """What it may do; default: those of images:generate, jobs:read, jobs:cancel, models:read that the
    asking key has.
    """
    expires_at: str
    """Default: when the asking key does."""
    allowed_models: Sequence[str]
    """Names of models it may use; default: those of the asking key."""
    allowed_addresses: Sequence[str]
    """Networks in CIDR form it works from; default: those of the asking key."""
    daily_cap: int
    """Most calls a day; default: none."""
    monthly_cap: int
    """Most calls a calendar month; default: none."""
    queue_depth: int
    """Most open requests of it, waiting and running; more are refused; default: none."""
    max_parallel: int
    """Most of its requests that run at once; more wait; default: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Body):
    """Denoising steps, summed over the images of the job."""

    step: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Body):
    """Why a job ended without images."""

    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Body):
    """One finished image."""

    url: str = ""
    width: int = 0
    height: int = 0
    seed: int = 0
    media_type: str = ""
    expires_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links(Body):
    """Where to go from here, as paths on this server."""

    self: str = ""
    events: str = ""
    cancel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(Body):
    """Where time went."""

    phase: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyVerdict(Body):
    """What the account's safety rule, or the request's own wish, made of it."""

    prompt: str | None = None
    terms: tuple[str, ...] = ()
    images: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts(Body):
    """A job with all that its owner may know."""

    id: int = 0
    state: str = ""
    kind: str = ""
    progress: Progress = field(default_factory=lambda: Progress())
    queued_at: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    is_cancel_requested: bool = False
    error: Failure | None = None
    images: tuple[Image, ...] = ()
    track_id: str | int | None = None
    links: Links = field(default_factory=lambda: Links())
    queue_position: int = 0
    eta_s: float = 0.0
    timeline: tuple[Phase, ...] = ()
    safety: SafetyVerdict | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload(Body):
    """A picture that was kept; `id` stands wherever a picture may."""

    id: str = ""
    width: int = 0
    height: int = 0
    has_alpha: bool = False
    size_bytes: int = 0
    media_type: str = ""
    expires_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Body):
    """Of one request, as things stand."""

    calls: int = 0
    images: int = 0
    pixels: int = 0
    seconds: float = 0.0
    price_micro: int = 0
    currency: str = ""
    funding: str | None = None
    balance_after_micro: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPreview(Body):
    """One preview image."""

    url: str = ""
    media_type: str = ""
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts(Body):
    """A model in a list; times are ISO 8601 in UTC."""

    name: str = ""
    kind: str = ""
    title: str = ""
    family: str = ""
    variant: str = ""
    tags: tuple[str, ...] = ()
    trigger_words: tuple[str, ...] = ()
    licence: str = ""
    is_commercial_use_allowed: bool = False
    provider: str = ""
    visibility: str = ""
    is_mine: bool = False
    is_enabled: bool = False
    size_bytes: int = 0
    native_px: int = 0
    previews: tuple[ModelPreview, ...] = ()
    use_count: int = 0
    last_used_at: str | None = None
    created_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress(Body):
    """How far a running import is; the bytes are those of the present phase."""

    phase: str = ""
    bytes_done: int = 0
    bytes_total: int = 0
    percent: float | None = None
    speed_bps: float = 0.0
    eta_s: float | None = None
    files_done: int = 0
    files_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Body):
    """What identification found."""

    kind: str = ""
    family: str = ""
    variant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFacts(Body):
    """An import; times are ISO 8601 in UTC."""

    id: int = 0
    state: str = ""
    source: str = ""
    address: str = ""
    revision: str = ""
    name: str = ""
    visibility: str = ""
    requested_by: str = ""
    progress: ImportProgress = field(default_factory=lambda: ImportProgress())
    identified: Found | None = None
    model: str | None = None
    error: Failure | None = None
    is_cancel_requested: bool = False
    attempt: int = 0
    created_at: str = ""
    started_at: str | None = None
    finished_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(Body):
    """An API key without its secret; times are ISO 8601 in UTC."""

    id: str = ""
    name: str = ""
    account: str = ""
    scopes: tuple[str, ...] = ()
    allowed_models: tuple[str, ...] = ()
    allowed_addresses: tuple[str, ...] = ()
    daily_cap: int | None = None
    monthly_cap: int | None = None
    queue_depth: int | None = None
    max_parallel: int | None = None
    state: str = ""
    is_current: bool = False
    created_at: str = ""
    expires_at: str | None = None
    last_used_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey(Body):
    """A new key; `key` is the only copy of its text there will ever be."""

    id: str = ""
    name: str = ""
    account: str = ""
    scopes: tuple[str, ...] = ()
    allowed_models: tuple[str, ...] = ()
    allowed_addresses: tuple[str, ...] = ()
    daily_cap: int | None = None
    monthly_cap: int | None = None
    queue_depth: int | None = None
    max_parallel: int | None = None
    state: str = ""
    is_current: bool = False
    created_at: str = ""
    expires_at: str | None = None
    last_used_at: str | None = None
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls(Body):
    """Of the present day of the account's time zone; null is without limit."""

    limit: int | None = None
    used: int = 0
    reserved: int = 0
    remaining: int | None = None
    resets_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(Body):
    """How much of a limit is gone; null is without limit. `used` counts open requests, too."""

    limit: int | None = None
    used: int = 0
    remaining: int | None = None
    resets_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month(Body):
    """The present calendar month of the account's time zone."""

    calls: Taken = field(default_factory=lambda: Taken())
    included: Taken = field(default_factory=lambda: Taken())
    free_today: Taken = field(default_factory=lambda: Taken())


@dataclass(frozen=True, slots=True, kw_only=True)
class FairUse(Body):
    """Calls a month beyond which the account's share of the machine falls; nothing is refused for it."""

    limit: int | None = None
    exceeded: bool = False
    weight: float = 0.0
    full_weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Body):
    """Requests that are waiting or running; null is without limit."""

    limit: int | None = None
    open: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(Body):
    """Requests that are running; more wait, and null is without limit."""

    limit: int | None = None
    running: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsage(Body):
    """The caps of the key that asks; null where it has none."""

    day: Taken | None = None
    month: Taken | None = None
    queue: Queue = field(default_factory=lambda: Queue())
    parallel: Parallel = field(default_factory=lambda: Parallel())


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending(Body):
    """A monthly budget of the account, or of the key that asks; millionths of a US dollar."""

    key: str | None = None
    is_hard: bool = False
    limit_micro: int = 0
    spent_micro: int = 0
    remaining_micro: int = 0
    resets_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpending(Body):
    """Delivered this calendar month with one key; null is of calls without one."""

    key: str | None = None
    calls: int = 0
    images: int = 0
    price_micro: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Money(Body):
    """Millionths of a US dollar. `spent_micro` is of what was delivered this calendar month."""

    currency: str = ""
    wallet_micro: int = 0
    promo_micro: int = 0
    held_micro: int = 0
    owed_micro: int = 0
    spent_micro: int = 0
    keys: tuple[KeySpending, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Body):
    """A device that is kept for the account; while it is offline, requests wait for it."""

    name: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day(Body):
    """Calls that succeeded on one day."""

    day: str = ""
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(Body):
    """What the account has used, and what its plan allows."""

    account: str = ""
    plan: str = ""
    calls: Calls = field(default_factory=lambda: Calls())
    month: Month = field(default_factory=lambda: Month())
    fair_use: FairUse = field(default_factory=lambda: FairUse())
    key: KeyUsage = field(default_factory=lambda: KeyUsage())
    budgets: tuple[Spending, ...] = ()
    money: Money = field(default_factory=lambda: Money())
    queue: Queue = field(default_factory=lambda: Queue())
    parallel: Parallel = field(default_factory=lambda: Parallel())
    service_level: str | None = None
    devices: tuple[Device, ...] = ()
    max_images: int = 0
    kinds: tuple[str, ...] = ()
    days: tuple[Day, ...] = ()
