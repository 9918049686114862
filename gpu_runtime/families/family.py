"""What the engine asks of a model family. One implementation a file beside this one.

A family object is one loaded checkpoint. It does tensor work and decides nothing: which rows share a call,
when to decode and what a fault means are the engine's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from gpu_runtime.adapters.use import LoraUse
from gpu_runtime.messages import ImageRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoding:
    """One encoded prompt."""

    tokens: Tensor
    """[1, tokens, width], the denoiser's dtype, on the device."""
    pooled: Tensor | None = None
    """[1, width], the denoiser's dtype, on the device; None for families without a pooled embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """What all images of one request share besides the weights."""

    positive: TextEncoding
    negative: TextEncoding | None
    """None for a request without an unconditional row: unguided, or guided by an embedded scale."""
    guidance_scale: float
    loras: tuple[LoraUse, ...] = ()
    """Adapters of the denoiser; those of text encoders have done their work in `positive` and `negative`."""
    shape: tuple[int, ...] = ()
    """What must be equal, besides the size, for rows to be stacked: numbers of tokens, for example."""
    pictures: Any = None
    """What the family made of the request's pictures, once for all its images; its own business."""
    controls: tuple[Any, ...] = ()
    """ControlNets with their pictures: `gpu_runtime.controls.use.ControlUse`."""
    prompts_of_pictures: tuple[Any, ...] = ()
    """IP-adapters with their pictures: `gpu_runtime.ip_adapters.use.IpAdapterUse`."""


class StepSampler(Protocol):
    """The position of one image on its way from noise; `samplers.RowSampler` is the usual one."""

    @property
    def is_done(self) -> bool:
        """Whether the latents are final."""

    @property
    def steps_done(self) -> int:
        """Steps in the user's count."""

    @property
    def timestep(self) -> float:
        """The timestep of the next denoiser call, on the training scale."""

    def scale(self, latents: Tensor) -> Tensor:
        """The denoiser's input for these latents; shape, dtype and device stay."""

    def advance(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """The latents one call later."""


@dataclass(slots=True, kw_only=True)
class Row:
    """One image between its first and its last step."""

    conditioning: Conditioning
    sampler: StepSampler
    latents: Tensor
    """[1, C, h, w], float32, on the device; unscaled, at the sampler's current noise level."""
    channels: Tensor | None = None
    """[1, more, h, w]: what the denoiser takes beside the latents, such as mask and masked image."""
    after_step: Callable[[Tensor], Tensor] | None = None
    """Takes the latents after each sampler step and returns what to go on with: keeps what a mask keeps."""
    features: Any = None
    """What the `fast` tier remembers of this image's earlier steps; never seen by another row."""
    release: Callable[[], None] | None = None
    """Ends what the image holds besides memory; called when its request ends before its last step."""
    is_lost_with_weights: bool = False
    """Whether the steps done are repeated after the weights left the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardInputs:
    """One denoiser call: first the conditional row of each image, then the unconditional ones."""

    latents: Tensor
    """[B, C, h, w], the denoiser's dtype, on the device; scaled to the denoiser's range."""
    timesteps: Tensor
    """[B], float32, on the device, 0 to 1000: the training scale, whatever scale the denoiser wants."""
    context: Tensor
    """[B, tokens, width], the denoiser's dtype, on the device."""
    guided: tuple[int, ...]
    """Which images have an unconditional row, in the order of those rows."""
    guidance: Tensor
    """[len(guided), 1, 1, 1], float32, on the device."""
    pooled: Tensor | None = None
    """[B, width]; None for families without."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """What else the family's denoiser takes for each forward row: first dimension B."""
    loras: tuple[tuple[LoraUse, ...], ...] = ()
    """Adapters of each forward row; empty when no row has any."""
    repeats_steps: bool = False
    """Whether the call repeats earlier steps first, and so takes longer than others."""

    def owner(self, forward_row: int) -> int:
        """The image to which a forward row belongs."""
        images = self.latents.shape[0] - len(self.guided)
        return forward_row if forward_row < images else self.guided[forward_row - images]


class Family(Protocol):
    """One loaded checkpoint of a family."""

    @property
    def vae(self) -> Any:
        """Its own autoencoder, untyped in diffusers; None where `decode` runs none."""

    def encode(self, request: ImageRequest) -> Conditioning:
        """Encode the prompts. Prompts seen lately are not encoded again."""

    def begin(self, request: ImageRequest, index: int, conditioning: Conditioning) -> Row:
        """Noise and sampler of one image."""

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """Gather the inputs of one call. Changes no row's position."""

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The denoiser's raw prediction for these forward rows: float32 [len, C, h, w]. No side effect."""

    def combine(self, prediction: Tensor, inputs: ForwardInputs) -> Tensor:
        """Classifier-free guidance: float32 [B, C, h, w] to float32 [images, C, h, w]."""

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        """Images of final latents: float32 [B, C, h, w] to float32 [B, 3, H, W], nominally -1 to 1.

        `vae` is an autoencoder in place of the checkpoint's own (any of diffusers' untyped classes).
        """
