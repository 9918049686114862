"""A request's IP-adapters with their pictures, as the rows of its images carry them.

What an adapter makes of pictures is kept beside encoded prompts, so that pictures seen lately are not encoded
again, whatever the prompt.

Reference: `prepare_ip_adapter_image_embeds` of diffusers' pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from gpu_runtime.devices import DevicePlan
from gpu_runtime.errors import UnsupportedCombination, WeightsCorrupt
from gpu_runtime.families.family import TextEncoding
from gpu_runtime.ip_adapters.kinds import Kind
from gpu_runtime.ip_adapters.layout import Layout, Make, read_layout, require_layers
from gpu_runtime.ip_adapters.seeing import encoder_loan, pixel_values, require_width, seen
from gpu_runtime.ip_adapters.use import IpAdapterUse, PicturePrompt
from gpu_runtime.messages import ImageRequest, IpAdapterRef
from gpu_runtime.prompts.cache import PromptCache
from gpu_runtime.weights.loans import FileLoan, Lend, NetworkLoan


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReader:
    """Reads the pictures that requests for one checkpoint are prompted with."""

    kind: Kind
    plan: DevicePlan
    lend: Lend
    kept: PromptCache

    def read(self, request: ImageRequest, *, is_guided: bool) -> tuple[IpAdapterUse, ...]:
        """The request's adapters. `is_guided`: whether its images have unconditional rows.

        Raises CheckpointMissing, WeightsCorrupt or UnsupportedCombination.
        """
        most = self.kind.most_pictures
        if most is not None and sum(len(ref.images) for ref in request.ip_adapters) > most:
            raise UnsupportedCombination(f"this checkpoint takes {most} picture for IP-adapters altogether")
        return tuple(
            self._use(f"IP-adapter {number} ({ref.name})", ref, is_guided)
            for number, ref in enumerate(request.ip_adapters, start=1)
        )

    def _use(self, title: str, ref: IpAdapterRef, is_guided: bool) -> IpAdapterUse:
        if not ref.images:
            raise UnsupportedCombination(f"{title} comes without a picture")
        file = Path(ref.path)
        layout = read_layout(title, file)
        encoder = encoder_loan(title, ref, self.kind.encoder, self.plan.dtype)
        self._require_fitting(title, layout, encoder)
        dtype, device = self.plan.dtype, self.plan.device
        loan = FileLoan(
            digest=ref.digest, file=file, dtype=dtype, build=partial(self.kind.build, file, device, dtype)
        )
        reading = _Reading(title=title, ref=ref, make=layout.make, loan=loan, encoder=encoder)
        tokens = self._tokens(reading, tuple(image.digest for image in ref.images), self._see_pictures)
        nothing = self._tokens(reading, (), self._see_nothing) if is_guided else None
        return IpAdapterUse(
            conditional=PicturePrompt(loan, tokens, ref.scale),
            unconditional=None
            if nothing is None
            else PicturePrompt(loan, nothing.repeat(1, len(ref.images), 1), ref.scale),
        )

    def _require_fitting(self, title: str, layout: Layout, encoder: NetworkLoan) -> None:
        if layout.make not in self.kind.makes:
            raise UnsupportedCombination(
                f"{title} was made for another family of checkpoints: it is a {layout.make.value} adapter, "
                f"this one takes {' or '.join(sorted(make.value for make in self.kind.makes))} ones"
            )
        require_layers(title, layout, self.kind.shapes)
        is_summary = not layout.make.reads_hidden_states
        require_width(title, encoder, layout.picture_width, is_summary=is_summary)

    def _tokens(
        self, reading: _Reading, pictures: tuple[str, ...], see: Callable[[_Reading, Any], Tensor]
    ) -> Tensor:
        """What is attended to, [1, tokens, width], of pictures of these digests; () is for no picture."""
        key = ("pictures", reading.loan.digest, reading.encoder.digest, self.plan.dtype, pictures)
        return self.kept.get(key, lambda: TextEncoding(tokens=self._read(reading, see))).tokens

    def _read(self, reading: _Reading, see: Callable[[_Reading, Any], Tensor]) -> Tensor:
        lent = self.lend([reading.encoder, reading.loan])
        looked = see(reading, lent[reading.encoder])
        if not self.kind.is_projected_once:
            return looked.flatten(0, 1)[None]
        tokens: Tensor = lent[reading.loan].projection(looked)
        wanted = self.kind.shapes[0][1]
        if tokens.shape[-1] != wanted:
            raise WeightsCorrupt(
                f"{reading.title} makes tokens of width {tokens.shape[-1]}, its layers take {wanted}"
            )
        return tokens.flatten(0, 1)[None]

    def _see_pictures(self, reading: _Reading, encoder: Any) -> Tensor:
        pixels = pixel_values(encoder, reading.ref.images, reading.title)
        return seen(encoder, pixels, is_summary=not reading.make.reads_hidden_states)

    def _see_nothing(self, reading: _Reading, encoder: Any) -> Tensor:
        return self.kind.see_nothing(encoder, reading.make)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One adapter of one request."""

    title: str
    ref: IpAdapterRef
    make: Make
    loan: FileLoan
    encoder: NetworkLoan
