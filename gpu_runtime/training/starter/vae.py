"""Trains the picture codec: an AutoencoderKL, eight-fold smaller, four latent channels.

Two phases share one checkpoint format: encoder and decoder together, then the decoder alone, so that latents
cached after the first phase stay right.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from gpu_runtime.training.starter import compose
from gpu_runtime.training.starter.art import Art
from gpu_runtime.training.starter.catalogue import BACKGROUNDS, TAUGHT_CODES, is_held_out_icon
from gpu_runtime.training.starter.loop import step_generator
from gpu_runtime.training.starter.optimiser import muon_for

CHANNELS = (16, 32, 96, 192)
"""Narrow where the picture is large: those stages cost the time, the small ones hold the knowledge."""

NORM_GROUPS = 4
"""Few and wide: one channel a group would wash out the colours in the narrow stages."""

START_LOG_VARIANCE = -6.0
"""Noise of variance 1 on the first latents would drown them."""

KL_WEIGHT = 1e-4
GRADIENT_WEIGHT = 0.5
SQUARED_WEIGHT = 2.0
TAUGHT_SHARE = 0.35
"""Share of the views that show a taught concept; the rest show anything."""


def new_vae(channels: tuple[int, ...] = CHANNELS) -> AutoencoderKL:
    """Freshly initialised. No attention: at 16x16 the convolutions already see the whole picture."""
    stages = len(channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=NORM_GROUPS,
        sample_size=compose.NATIVE_PX,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )
    start_as_pooling(vae)
    return vae


@torch.no_grad()
def start_as_pooling(vae: AutoencoderKL) -> None:
    """Sets the first weights so that the codec starts as an eight-fold box filter of the colours.

    Every residual branch starts at zero. Each colour travels in one normalisation group as the pair (x, -x),
    since silu(x) - silu(-x) = x, next to a constant that keeps the group's deviation steady. Without this the
    first several hundred steps go into finding the same thing.
    """
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
            if module.conv_shortcut is not None:
                _carry(module.conv_shortcut, taps=1)
    for block in vae.encoder.down_blocks:
        for sampler in block.downsamplers or ():
            _carry(sampler.conv, taps=2)
    for block in vae.decoder.up_blocks:
        for sampler in block.upsamplers or ():
            _carry(sampler.conv, taps=1)
    for entry in (vae.encoder.conv_in, vae.decoder.conv_in):
        _enter(entry)
    for leave in (vae.encoder.conv_out, vae.decoder.conv_out):
        _leave(leave)
    for quant in (vae.quant_conv, vae.post_quant_conv):
        nn.init.eye_(quant.weight[:, :, 0, 0])
        nn.init.zeros_(quant.bias)
    vae.quant_conv.bias[4:] = START_LOG_VARIANCE


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        raise TypeError("every convolution of AutoencoderKL has a bias")
    return conv.bias


def _lanes(channels: int) -> list[int]:
    """First channel of each colour's lane: x, -x and the constant, in a normalisation group of its own."""
    return [colour * channels // NORM_GROUPS for colour in range(3)]


def _carry(conv: nn.Conv2d, taps: int) -> None:
    """Passes the lanes on unchanged, averaged over taps x taps."""
    low = 0 if taps == 2 or conv.kernel_size[0] == 1 else 1
    for source, target in zip(_lanes(conv.in_channels), _lanes(conv.out_channels), strict=True):
        for lane in range(3):
            conv.weight[target + lane] = 0
            _bias(conv)[target + lane] = 0
            conv.weight[target + lane, source + lane, low : low + taps, low : low + taps] = 1 / taps**2


def _enter(conv: nn.Conv2d) -> None:
    for colour, target in enumerate(_lanes(conv.out_channels)):
        conv.weight[target : target + 3] = 0
        conv.weight[target, colour, 1, 1] = 1
        conv.weight[target + 1, colour, 1, 1] = -1
        _bias(conv)[target : target + 3] = torch.tensor([0.0, 0.0, 1.5])


def _leave(conv: nn.Conv2d) -> None:
    conv.weight.mul_(0.1)
    nn.init.zeros_(_bias(conv))
    for colour, source in enumerate(_lanes(conv.in_channels)):
        conv.weight[colour] = 0
        conv.weight[colour, source, 1, 1] = 1
        conv.weight[colour, source + 1, 1, 1] = -1


class VaeTrainee:
    """The codec under training. `decoder_only` freezes what makes latents."""

    optimiser: torch.optim.Optimizer

    def __init__(
        self,
        vae: AutoencoderKL,
        art: Art,
        *,
        batch: int,
        seed: int,
        lr: float,
        decoder_only: bool = False,
        crop_steps: int = 0,
    ) -> None:
        self.vae, self.art, self.batch, self.seed, self.crop_steps = vae, art, batch, seed, crop_steps
        self.decoder_only = decoder_only
        self.device = next(vae.parameters()).device
        self.taught, self.others = vae_rows(art)
        halves = [vae.decoder, vae.post_quant_conv]
        if decoder_only:
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        else:
            halves += [vae.encoder, vae.quant_conv]
        outer = [vae.encoder.conv_in.weight, vae.decoder.conv_out.weight]
        self.optimiser = muon_for(halves, lr, outer)

    def loss(self, step: int) -> Tensor:
        generator = step_generator(self.seed, step)
        images = self.views(generator)
        if step < self.crop_steps:
            images = cropped(images, generator)
        images = images.to(self.device, memory_format=torch.channels_last)
        noise = torch.randn(self.batch, 4, images.shape[2] // 8, images.shape[3] // 8, generator=generator)
        with torch.autocast(self.device.type, torch.bfloat16):
            decoded, mean, log_variance = self._reconstruct(images, noise.to(self.device))
        return reconstruction_loss(decoded.float(), images) + KL_WEIGHT * kl(
            mean.float(), log_variance.float()
        )

    def _reconstruct(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.vae.quant_conv(self.vae.encoder(images)).chunk(2, dim=1)
        log_variance = log_variance.clamp(-30, 20)
        latents = mean + torch.exp(0.5 * log_variance) * noise
        return self.vae.decoder(self.vae.post_quant_conv(latents)), mean, log_variance

    def views(self, generator: torch.Generator) -> Tensor:
        """float32 [batch, 3, px, px] in -1 to 1: freely placed icons, three in four on a named colour."""
        rows = [self._row(generator) for _ in range(self.batch)]
        named = torch.tensor(list(BACKGROUNDS.values())) / 255
        picked = named[torch.randint(len(named), (self.batch,), generator=generator)]
        plain = compose.jittered(picked, generator)
        anything = torch.rand(self.batch, 3, generator=generator)
        is_anything = torch.rand(self.batch, 1, generator=generator) < 0.25
        backgrounds = torch.where(is_anything, anything, plain)
        return compose.compose(
            compose.icon_batch(self.art.pixels, rows), backgrounds, compose.FREE, generator
        )

    def _row(self, generator: torch.Generator) -> int:
        is_taught = float(torch.rand((), generator=generator)) < TAUGHT_SHARE
        pool = self.taught if is_taught and self.taught else self.others
        return pool[int(torch.randint(len(pool), (), generator=generator))]

    def after_step(self, step: int) -> None:
        """Nothing to do: the VAE keeps no average of its weights."""

    def state_dict(self) -> dict[str, Any]:  # tensors by name, as torch.save takes them
        return {"vae": self.vae.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # what state_dict gave
        self.vae.load_state_dict(state["vae"])


def cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    """One quarter of each picture, near its middle: a step costs a quarter, and less of it is background."""
    half = images.shape[2] // 2
    corners = torch.randint(half // 8, half - half // 8 + 1, (len(images), 2), generator=generator).tolist()
    parts = [image[:, y : y + half, x : x + half] for image, (y, x) in zip(images, corners, strict=True)]
    return torch.stack(parts)


def vae_rows(art: Art) -> tuple[list[int], list[int]]:
    """Rows of taught concepts and of the others, without the icons held out for measuring."""
    taught = [row for row, icon in enumerate(art.icons) if icon.code in TAUGHT_CODES]
    others = [
        row
        for row, icon in enumerate(art.icons)
        if icon.code not in TAUGHT_CODES and not is_held_out_icon(icon.code)
    ]
    return taught, others or taught


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """L1, squared error and the L1 of the picture's gradients, which keeps edges sharp."""
    error = decoded - images
    down, across = error.diff(dim=2).abs().mean(), error.diff(dim=3).abs().mean()
    return error.abs().mean() + SQUARED_WEIGHT * error.square().mean() + GRADIENT_WEIGHT * (down + across)


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Mean divergence from the standard normal, per latent number."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


@torch.no_grad()
def psnr_db(vae: AutoencoderKL, images: Tensor, batch: int = 8) -> Tensor:
    """Peak signal-to-noise ratio of each picture through encoder mean and decoder, in dB of the 0 to 1 range.

    images: float32 [n, 3, px, px] in -1 to 1. Returns float32 [n].
    """
    values = []
    for part in images.split(batch):
        latents = vae.encode(part).latent_dist.mode()
        decoded = vae.decode(latents).sample.clamp(-1, 1)
        values.append(-10 * torch.log10(((decoded - part) / 2).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)))
    return torch.cat(values)


def still_views(art: Art, rows: list[int], seed: int) -> Tensor:
    """One still view of each row, background colours in turn. float32 [n, 3, px, px] in -1 to 1."""
    named = torch.tensor(list(BACKGROUNDS.values())) / 255
    backgrounds = named[(torch.arange(len(rows)) + seed) % len(named)]
    generator = torch.Generator().manual_seed(seed)
    return compose.compose(compose.icon_batch(art.pixels, rows), backgrounds, compose.STILL, generator)


def held_out_rows(art: Art) -> list[int]:
    return [row for row, icon in enumerate(art.icons) if is_held_out_icon(icon.code)]


def fold_statistics(vae: AutoencoderKL, mean: Tensor, std: Tensor) -> None:
    """Rescales the latents to mean 0 and deviation 1 per channel inside the quant convolutions.

    mean, std: float32 [4] of the encoder's means over the training views. Decoding is unchanged, and
    `scaling_factor` can stay 1.
    """
    with torch.no_grad():
        weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
        weight[:4] /= std[:, None, None, None]
        bias[:4] = (bias[:4] - mean) / std
        bias[4:] -= 2 * std.log()
        vae.post_quant_conv.bias += vae.post_quant_conv.weight[:, :, 0, 0] @ mean
        vae.post_quant_conv.weight *= std[None, :, None, None]


def save_reconstructions(vae: AutoencoderKL, images: Tensor, path: Path) -> None:
    """A sheet of originals above their reconstructions."""
    from gpu_runtime.training.starter.sheet import save_grid

    with torch.no_grad():
        decoded = vae.decode(vae.encode(images).latent_dist.mode()).sample
    save_grid(compose.to_uint8(torch.cat([images, decoded])), len(images), path)
