"""What crosses the border between the Django side and the GPU runtime, in both directions.

Plain frozen values only. Knows nothing about tensors, databases or HTTP; importing this module
never imports torch, so the web process may use it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from gpu_runtime.errors import RuntimeFault


class Sampler(StrEnum):
    """User-facing samplers: a noise scheduler together with its sigma schedule.

    `gpu_runtime.samplers` maps each one to a diffusers class and configuration; a test asserts
    that none is missing there.
    """

    EULER = "euler"
    EULER_KARRAS = "euler_karras"
    EULER_A = "euler_a"
    HEUN = "heun"
    KDPM2 = "kdpm2"
    KDPM2_A = "kdpm2_a"
    DPMPP_2M = "dpmpp_2m"
    DPMPP_2M_KARRAS = "dpmpp_2m_karras"
    DPMPP_2M_SDE = "dpmpp_2m_sde"
    DPMPP_2M_SDE_KARRAS = "dpmpp_2m_sde_karras"
    DPMPP_2S = "dpmpp_2s"
    DEIS = "deis"
    DDIM = "ddim"
    DDPM = "ddpm"
    PNDM = "pndm"
    LCM = "lcm"
    UNIPC = "unipc"
    UNIPC_KARRAS = "unipc_karras"


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
    weight: float = 1.0
    """Relative share of this account's plan, above 0."""
    is_isolated: bool = False
    """Share no step with other requests: set for requests whose worker crashed before."""
    loras: tuple[LoraRef, ...] = ()
    """Applied together, each at its scale; at most 8."""
    embeddings: tuple[EmbeddingRef, ...] = ()
    vae: VaeRef | None = None
    """None is the checkpoint's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where one request spent its time inside the runtime, in seconds."""

    queued_s: float
    """From submit() until its first row was admitted."""
    load_s: float
    """Loading weights while this request waited."""
    encode_s: float
    """Prompt encoding."""
    denoise_s: float
    """From the first to the last step of any of its rows."""
    decode_s: float
    """VAE decode and image encoding after the last step."""
    total_s: float
    """From submit() to the event that carries this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Steps done so far, summed over the images of the request."""

    request_id: str
    step: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDone:
    """One finished image. Comes exactly once for each index of a request that succeeds."""

    request_id: str
    index: int
    seed: int
    data: bytes
    """The encoded file."""
    media_type: str
    """"image/png"."""
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDone:
    """Every image of the request was delivered by an earlier ImageDone."""

    request_id: str
    timings: Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed:
    """The request ended without all of its images; the engine has forgotten it."""

    request_id: str
    fault: RuntimeFault


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCanceled:
    """The request was canceled; the engine has forgotten it."""

    request_id: str


Event = Progress | ImageDone | RequestDone | RequestFailed | RequestCanceled


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


class EngineProtocol(Protocol):
    """What the pump drives. Single-threaded: every method is called from one thread."""

    def submit(self, request: ImageRequest) -> None:
        """Take a request. Raises RuntimeFault at once when it can never run; else it ends with one event."""

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

    def warm(self, checkpoint: CheckpointRef) -> None:
        """Make a checkpoint resident at the next idle `step()`; failures are logged, not raised.

        `has_work()` is true until it was tried. A second call for the same digest changes nothing. Unless it
        is pinned, one for which there is no room to spare is left out, and so is one that failed lately.
        """

    def unload(self, digest: str | None = None) -> int:
        """Forget a checkpoint's weights, or with None all that no held request needs. Returns bytes freed."""

    def info(self) -> EngineInfo:
        """Device, dtype and residency now."""
