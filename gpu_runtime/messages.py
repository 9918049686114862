"""What crosses the border between the Django side and the GPU runtime, in both directions.

Plain frozen values only. Knows nothing about tensors, databases or HTTP; importing this module
never imports torch, so the web process may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from gpu_runtime.errors import RuntimeFault

if TYPE_CHECKING:
    from gpu_runtime.telemetry import TickReport
    from gpu_runtime.work import WorkRequest


class Sampler(StrEnum):
    """User-facing samplers: the algorithm, whatever the spacing of its noise levels.

    `gpu_runtime.samplers` maps each one to its arithmetic; a test asserts that none is missing there. Which
    schedules each takes is in `gpu_runtime.sampler_facts`.
    """

    EULER = "euler"
    EULER_A = "euler_a"
    HEUN = "heun"
    LMS = "lms"
    IPNDM = "ipndm"
    KDPM2 = "kdpm2"
    KDPM2_A = "kdpm2_a"
    DPM_FAST = "dpm_fast"
    DPM_ADAPTIVE = "dpm_adaptive"
    DPMPP_2M = "dpmpp_2m"
    DPMPP_2M_SDE = "dpmpp_2m_sde"
    DPMPP_2M_SDE_HEUN = "dpmpp_2m_sde_heun"
    DPMPP_3M_SDE = "dpmpp_3m_sde"
    DPMPP_2S = "dpmpp_2s"
    DPMPP_2S_A = "dpmpp_2s_a"
    DPMPP_SDE = "dpmpp_sde"
    RESTART = "restart"
    DEIS = "deis"
    UNIPC = "unipc"
    DDIM = "ddim"
    DDPM = "ddpm"
    PNDM = "pndm"
    LCM = "lcm"


class SigmaSchedule(StrEnum):
    """How a sampler's noise levels are spaced between the first and the last."""

    AUTOMATIC = "automatic"
    """As the checkpoint's own configuration says."""
    UNIFORM = "uniform"
    """Equal distances in time, both ends included."""
    NORMAL = "normal"
    """The same: AUTOMATIC1111 has two names for it."""
    SGM_UNIFORM = "sgm_uniform"
    """Equal distances in time, begun at the last timestep of training."""
    SIMPLE = "simple"
    """Every so manieth timestep of training, counted from the last one."""
    DDIM = "ddim"
    """Every so manieth timestep of training, counted from the first one."""
    KARRAS = "karras"
    EXPONENTIAL = "exponential"
    POLYEXPONENTIAL = "polyexponential"
    """Exponential with an exponent of 1, and so the same as exponential, as in AUTOMATIC1111."""
    KL_OPTIMAL = "kl_optimal"
    ALIGN_YOUR_STEPS = "align_your_steps"
    BETA = "beta"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRef:
    """Which weights to use, and where they lie."""

    name: str
    """The catalogue's name; for logs and telemetry only."""
    family: str
    """Architecture the weights fit, e.g. "sd15"."""
    path: str
    """Absolute path of a folder in the diffusers layout."""
    digest: str
    """Hash that identifies the weights: equal digests may share a batch."""
    variant: str = ""
    """Within the family, e.g. "inpaint" or "schnell"; "" for the ordinary one."""
    keep_alive_s: float | None = None
    """Seconds without use after which the weights leave the device; None is the engine's own setting."""
    is_pinned: bool = False
    """Never evicted to make room, never unloaded for being idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRef:
    """One low-rank adapter of one request. Requests with different ones share a batch."""

    name: str
    """The catalogue's name; for logs only."""
    path: str
    """Absolute path of the safetensors file."""
    digest: str
    """Hash of the file; equal digests share one copy in memory."""
    scale: float
    """Strength, -4 to 4; 1 is as trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRef:
    """Textual-inversion vectors that a request's prompts may name."""

    name: str
    """The catalogue's name; for logs only."""
    token: str
    """The word in the prompt that stands for the vectors, matched as a whole word, case-sensitively."""
    path: str
    """Absolute path of the safetensors file."""
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeRef:
    """An autoencoder that replaces the checkpoint's own for one request."""

    name: str
    path: str
    """Absolute path of a folder with config.json and safetensors."""
    digest: str


class Tier(StrEnum):
    """What a request gives up for speed, or pays for sameness."""

    STANDARD = "standard"
    """Full precision of the plan, no cache; equal to running alone within rounding."""
    EXACT = "exact"
    """Like standard, in calls of a fixed number of rows: the same seed gives the same bytes at any load."""
    FAST = "fast"
    """May use fp8 products and cached features of its own earlier steps."""


class Priority(IntEnum):
    """Classes of work; a lower one is served while no higher one waits, and seldom besides."""

    INTERACTIVE = 0
    BACKGROUND = 1
    TRAINING = 2


class PromptStyle(StrEnum):
    """How a prompt is read."""

    PLAIN = "plain"
    """As it stands, brackets included."""
    WEIGHTED = "weighted"
    """Brackets give weights, as AUTOMATIC1111 reads them: (word), (word:1.3), [word]; BREAK ends a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """One picture that a request brings, as an encoded file."""

    data: bytes
    """PNG, JPEG or WebP; its header and size were checked by the caller."""
    digest: str
    """SHA-256 of `data`, in hexadecimal: equal pictures are prepared once."""


class ControlBalance(StrEnum):
    """What counts more where a control image and the prompt disagree; UNets only."""

    BALANCED = "balanced"
    PROMPT = "prompt"
    """The control fades towards the outer blocks of the network."""
    CONTROL = "control"
    """So it does, and rows without the prompt go without it: guidance makes more of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRef:
    """One ControlNet of one request, with the picture it follows."""

    name: str
    """The catalogue's name; for logs only."""
    path: str
    """Absolute path of a folder with config.json and safetensors."""
    digest: str
    image: ImageInput
    """The map (edges, depth, pose ...), resized to the request's size."""
    scale: float = 1.0
    """Strength, 0 to 5."""
    start: float = 0.0
    """Share of the steps after which it begins to act, 0 to 1."""
    end: float = 1.0
    """Share of the steps after which it no longer acts, above `start`."""
    mode: int | None = None
    """Which kind of map, for union ControlNets; None for others."""
    balance: ControlBalance = ControlBalance.BALANCED


@dataclass(frozen=True, slots=True, kw_only=True)
class IpAdapterRef:
    """Pictures that a request is prompted with, through one IP-adapter."""

    name: str
    """The catalogue's name; for logs only."""
    path: str
    """Absolute path of the safetensors file."""
    digest: str
    encoder_path: str
    """Absolute path of the folder of its CLIP vision model."""
    encoder_digest: str
    images: tuple[ImageInput, ...]
    """At least one; several are attended to together."""
    scale: float = 0.6
    """Strength, 0 to 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinerRef:
    """A second checkpoint that takes over the last steps of an image."""

    checkpoint: CheckpointRef
    switch_at: float = 0.8
    """Share of the steps that the first checkpoint does, above 0 and below 1."""


class Enlarging(StrEnum):
    """How the result of a first pass takes the size of the second one."""

    LANCZOS = "lanczos"
    """The decoded image, resampled."""
    NEAREST = "nearest"
    """The decoded image, each pixel repeated."""
    LATENTS = "latents"
    """The latents, bilinear."""
    OPERATIONS = "operations"
    """The decoded image, by whoever submitted the request: see `ImageEngine.submit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HiresFix:
    """A second pass at a larger size, begun from the enlarged result of the first."""

    width: int
    """Denoised width of the second pass in pixels, a multiple of 8."""
    height: int
    strength: float
    """How much of the second pass is new: its share of steps, above 0 to 1."""
    steps: int
    """Steps of the whole second schedule, of which `strength` are done, 1 to 150."""
    enlarging: Enlarging = Enlarging.LANCZOS
    prompt: str | None = None
    """Of the second pass, read as the request's own; None is the same."""
    negative_prompt: str | None = None
    sampler: Sampler | None = None
    """Of the second pass; None is the request's own with its schedule."""
    schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC
    """Counts with a sampler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedVariation:
    """Begin with a noise between those of two seeds, or with that of another size."""

    seeds: tuple[int, ...]
    """Second seed of each image, 0 to 2**32 - 1; as many as the request has seeds."""
    strength: float = 0.0
    """0 is the noise of the image's own seed, 1 that of its second one."""
    size: tuple[int, int] | None = None
    """Width and height in pixels of other noise; it is laid over the middle of the image's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureMix:
    """Keep the layout of the init image and fill it with what the prompt says.

    Source: Liew et al. 2022, arXiv:2210.16056 (MagicMix). The request's `strength` is its k_max.
    """

    share: float = 0.5
    """Of the prompt in each mixture, 0 to 1; the rest is the init image (the paper's nu)."""
    until: float = 0.3
    """Share of the steps, counted from the last one, that are left to the prompt alone (its k_min)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """One request for one or more images that differ only in their seed."""

    request_id: str
    """Unique among the requests the engine holds."""
    checkpoint: CheckpointRef
    prompt: str
    negative_prompt: str
    width: int
    """Denoised width in pixels, a multiple of 8."""
    height: int
    """Denoised height in pixels, a multiple of 8."""
    output_width: int
    """Width of the stored image; when it differs from `width` the decoded image is resized (Lanczos)."""
    output_height: int
    steps: int
    """Denoising steps, 1 to 150."""
    guidance_scale: float
    """Classifier-free guidance weight; at 1 or below the unconditional row is not computed."""
    seeds: tuple[int, ...]
    """One seed an image, each 0 to 2**32 - 1; the length is the number of images."""
    sampler: Sampler
    account: str
    """Opaque tenant id: rows are shared fairly between accounts."""
    variation: SeedVariation | None = None
    schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC
    """Spacing of the noise levels; AUTOMATIC for samplers that have their own."""
    weight: float = 1.0
    """Relative share of this account's plan, above 0."""
    is_isolated: bool = False
    """Share no step with other requests: set for requests whose worker crashed before."""
    loras: tuple[LoraRef, ...] = ()
    """Applied together, each at its scale; at most 8."""
    embeddings: tuple[EmbeddingRef, ...] = ()
    vae: VaeRef | None = None
    """None is the checkpoint's own."""
    image: ImageInput | None = None
    """Where to begin instead of pure noise; resized to the request's size."""
    strength: float = 1.0
    """With `image`: the share of the steps that is done, above 0 to 1; at 1 little of the image is left."""
    mask: ImageInput | None = None
    """With `image`: white is made anew, black is kept; read as grey, a half and more is white."""
    mix: PictureMix | None = None
    """With `image` and without `mask`: mix the image into the steps before the last ones; UNets only."""
    references: tuple[ImageInput, ...] = ()
    """Pictures that editing checkpoints (Kontext) work from."""
    controls: tuple[ControlRef, ...] = ()
    """Applied together, each at its scale; at most 5."""
    ip_adapters: tuple[IpAdapterRef, ...] = ()
    """Applied together, each at its scale; at most 3."""
    clip_skip: int = 0
    """Last layers of the CLIP text encoders to leave out, 0 to 11, counted as diffusers' pipelines do.

    Which do so for the prompt alone; with weighted prompts, as AUTOMATIC1111, for the negative one as well.
    Refused where CLIP gives a summary alone (Flux).
    """
    true_guidance_scale: float = 1.0
    """Guidance by an unconditional row for checkpoints that embed `guidance_scale` (Flux); 1 is without."""
    refiner: RefinerRef | None = None
    hires: HiresFix | None = None
    is_seamless: bool = False
    """Whether each edge goes on from the one across, so that copies can be laid as tiles; UNets only."""
    prompt_style: PromptStyle = PromptStyle.PLAIN
    tier: Tier = Tier.STANDARD
    priority: Priority = Priority.INTERACTIVE
    deadline_s: float | None = None
    """Seconds after submit() by which the caller wants it done: nearer deadlines are served earlier."""
    wants_previews: bool = False
    """Whether Preview events are made while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where one request spent its time inside the runtime, in seconds."""

    queued_s: float
    """From submit() until its first row was admitted."""
    load_s: float
    """Loading weights while this request waited."""
    encode_s: float
    """Encoding of prompts and pictures."""
    denoise_s: float
    """From the first to the last step of any of its rows."""
    decode_s: float
    """From the last step to the end of the last VAE decode."""
    encode_image_s: float
    """From the last VAE decode to the event that carries this: resizing and writing image files."""
    total_s: float
    """From submit() to the event that carries this."""
    before_s: float = 0.0
    """From the first to the last operation before the image."""
    after_s: float = 0.0
    """From the last image, or from the last operation before, to the last operation after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Steps done so far, summed over the images of the request."""

    request_id: str
    step: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an image looks like so far: small and rough, made from latents without a decoder."""

    request_id: str
    index: int
    step: int
    """Steps of this image that are done."""
    data: bytes
    """A JPEG file of at most 256 pixels a side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDone:
    """One finished image. Comes exactly once for each index of a request that succeeds."""

    request_id: str
    index: int
    seed: int
    data: bytes
    """The encoded file."""
    media_type: str
    """"image/png", "image/jpeg" or "image/webp"."""
    width: int
    """Of the file, in pixels."""
    height: int
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What operations found out about this image, fit for JSON: {"nsfw": 0.93, "is_replaced": true}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDone:
    """Every image of the request was delivered by an earlier ImageDone."""

    request_id: str
    timings: Timings
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What operations before the image found out, fit for JSON: {"caption": "..."}, {"faces": 2}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed:
    """The request ended without all of its images; the engine has forgotten it."""

    request_id: str
    fault: RuntimeFault


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCanceled:
    """The request was canceled; the engine has forgotten it."""

    request_id: str


Event = Progress | Preview | ImageDone | RequestDone | RequestFailed | RequestCanceled


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When a held request will be done if nothing else comes."""

    request_id: str
    position: int
    """How many of the others are expected to be done before it."""
    seconds: float
    """From now; loads of weights and what is not yet measured left out."""


class Residency(StrEnum):
    """Where a checkpoint's weights are."""

    RESIDENT = "resident"
    """On the device."""
    STAGED = "staged"
    """In host memory, one copy away from the device."""
    COLD = "cold"
    """On disk only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldWeights:
    """One checkpoint that the engine holds somewhere above cold."""

    name: str
    digest: str
    family: str
    residency: Residency
    size_bytes: int
    """Of all its components; those it shares with others are counted for each."""
    is_pinned: bool
    idle_s: float
    """Seconds since a request last used it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What the engine decided at start and holds now; shown to operators."""

    runtime: str
    """"torch" or "fake"."""
    device: str
    """"cpu" or "cuda:0"."""
    device_name: str
    dtype: str
    reason: str
    """Why this device, dtype and attention kernel: one sentence."""
    resident: tuple[str, ...] = field(default=())
    """Names of the checkpoints on the device."""
    held: tuple[HeldWeights, ...] = field(default=())
    """Every checkpoint above cold, the most recently used last."""
    weights_bytes: int = 0
    """Bytes of weights on the device, shared components counted once."""
    weights_budget_bytes: int = 0
    """Most bytes of weights the engine puts on the device."""


OnPixels: TypeAlias = Callable[[int, Any], None]
"""Called with an image's index and its pixels: uint8 [H, W, 3]. Untyped, since nothing here knows numpy."""


class Stepping(Protocol):
    """What is driven step by step. Single-threaded: every method is called from one thread."""

    def step(self) -> list[Event]:
        """Run one tick and return what happened, in order. Returns [] at once when there is no work."""

    def cancel(self, request_id: str) -> None:
        """Cancel within one step; unknown ids are ignored because the request may just have ended."""

    def has_work(self) -> bool:
        """Whether any request has not yet had its final event."""

    def free_rows(self) -> int:
        """How many more images could share the next step: the pump claims no more than this."""

    def expected_step_s(self) -> float:
        """Upper estimate of the next tick's duration in seconds, for the watchdog and for ETAs."""

    def take_ticks(self) -> list[TickReport]:
        """What was done since the last call, part by part; only the latest few thousand are kept."""

    def forecast(self) -> list[Forecast]:
        """When the held requests will be done, the next one first."""

    def warm(self, checkpoint: CheckpointRef) -> None:
        """Make a checkpoint resident at the next idle `step()`; failures are logged, not raised.

        `has_work()` is true until it was tried. A second call for the same digest changes nothing. Unless it
        is pinned, one for which there is no room to spare is left out, and so is one that failed lately.
        """

    def unload(self, digest: str | None = None) -> int:
        """Forget a checkpoint's weights, or with None all that no held request needs. Returns bytes freed."""

    def info(self) -> EngineInfo:
        """Device, dtype and residency now."""


class ImageEngine(Stepping, Protocol):
    """What makes images: the engine or its stand-in."""

    def submit(
        self, request: ImageRequest, *, on_pixels: OnPixels | None = None, on_between: OnPixels | None = None
    ) -> None:
        """Take a request. Raises RuntimeFault at once when it can never run; else it ends with one event.

        With `on_pixels` each image is handed to it by `step()`, unencoded, in place of an ImageDone. Requests
        that are enlarged by `Enlarging.OPERATIONS` need `on_between`: it is handed each image of the first
        pass, and the image waits until `resume` brings it back larger.
        """

    def resume(self, request_id: str, index: int, pixels: Any) -> None:
        """Go on with an image that `on_between` was handed: its pixels at the size of the second pass.

        Raises UnsupportedCombination for another size. An unknown request is ignored, as by `cancel`.
        """

    def require_admissible(self, request: ImageRequest) -> None:
        """Raise RuntimeFault when the request can never run; pictures themselves are not looked at."""

    def drain(self) -> None:
        """Take no further request and warm nothing more; requests held go on to their end."""

    def close(self) -> None:
        """Stop the threads and drop what is held; it cannot be used afterwards."""


class EngineProtocol(Stepping, Protocol):
    """What the pump drives: operations on pictures and the engine between them."""

    def submit(self, request: ImageRequest | WorkRequest) -> None:
        """Take a request. Raises RuntimeFault at once when it can never run; else it ends with one event."""
