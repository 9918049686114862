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
from gpu_runtime.controls.use import ControlUse
from gpu_runtime.ip_adapters.use import IpAdapterUse, PicturePrompt
from gpu_runtime.messages import ImageRequest
from gpu_runtime.weights.loans import Loan


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
    """Weight of classifier-free guidance, for requests with an unconditional row."""
    embedded_scale: float | None = None
    """Guidance scale that the denoiser takes as an input besides; None where it is `guidance_scale`."""
    loras: tuple[LoraUse, ...] = ()
    """Adapters of the denoiser; those of text encoders have done their work in `positive` and `negative`."""
    shape: tuple[int, ...] = ()
    """What must be equal, besides the size, for rows to be stacked: numbers of tokens, for example."""
    pictures: Any = None
    """What the family made of the request's pictures, once for all its images; its own business."""
    controls: tuple[ControlUse, ...] = ()
    """ControlNets with their pictures."""
    prompts_of_pictures: tuple[IpAdapterUse, ...] = ()
    """IP-adapters with their pictures."""


class StepSampler(Protocol):
    """The position of one image on its way from noise; `samplers.RowSampler` is the usual one."""

    @property
    def is_done(self) -> bool:
        """Whether the latents are final."""

    @property
    def steps_done(self) -> int:
        """Steps in the user's count."""

    @property
    def place(self) -> tuple[int, int]:
        """How many denoiser calls are made, and of how many; steps where those are not known beforehand."""

    @property
    def timestep(self) -> float:
        """The timestep of the next denoiser call, on the training scale."""

    def scale(self, latents: Tensor) -> Tensor:
        """The denoiser's input for these latents; shape, dtype and device stay."""

    def advance(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """The latents one call later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where one pass over an image begins and ends, when it is not the request's only one."""

    latents: Tensor | None = None
    """Float32 [1, C, h, w] of this pass's size, on the device, scaled as samplers have them: what the pass
    before left. They take the place of the encoded image. Without `begin_at` the pass is like img2img: noise
    is added for the request's `strength`. With it none is: they are at that noise level already."""
    pixels: Tensor | None = None
    """Instead of `latents`: float32 [1, 3, height, width], -1 to 1, of this pass's size, encoded here."""
    vae: Any = None
    """Encodes `pixels`; None is the checkpoint's own autoencoder (any of diffusers' untyped classes)."""
    begin_at: float | None = None
    """Share of the noise schedule that earlier passes have done (diffusers' `denoising_start`), 0 to 1."""
    end_at: float | None = None
    """Share of it after which this pass stops and another goes on (diffusers' `denoising_end`), 0 to 1."""


WHOLE = Start()
"""The only pass over an image: from noise, or from the request's own image."""


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
    """[B, C, h, w], the denoiser's dtype, on the device; scaled to the denoiser's range. C counts the rows'
    further channels too."""
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
    controls: tuple[tuple[ControlUse, ...], ...] = ()
    """ControlNets that act on each forward row now; empty when none acts on any."""
    prompts_of_pictures: tuple[tuple[PicturePrompt, ...], ...] = ()
    """IP-adapters of each forward row; empty when no row has any."""
    networks: Mapping[Loan, Any] = field(default_factory=dict)
    """What was lent for this call: ControlNets and IP-adapters, untyped in diffusers."""
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

    def encode(self, request: ImageRequest, vae: Any = None) -> Conditioning:
        """Encode the prompts and the pictures. Prompts seen lately are not encoded again.

        `vae` as in `decode`. Raises UnsupportedCombination.
        """

    def begin(
        self, request: ImageRequest, index: int, conditioning: Conditioning, start: Start = WHOLE
    ) -> Row:
        """Noise and sampler of one image; `conditioning` is of this request and size.

        Raises UnsupportedCombination.
        """

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
