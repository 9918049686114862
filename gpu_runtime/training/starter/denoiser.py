"""Trains the denoiser and its text encoder together, on latents computed once.

Knows latents and captions; never sees a picture except through the frozen VAE. The order of the rows in
`LatentViews` is the only link between a latent and the words that may describe it.
"""

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from gpu_runtime.training.starter import compose
from gpu_runtime.training.starter.art import Art
from gpu_runtime.training.starter.captions import caption
from gpu_runtime.training.starter.catalogue import BACKGROUNDS, STYLES, Concept, is_held_out_view
from gpu_runtime.training.starter.loop import process_rank, step_generator
from gpu_runtime.training.starter.optimiser import muon_for

TEXT_WIDTH = 256
UNET_CHANNELS = (80, 160, 256)
VIEWS_PER_CAPTION = 2
"""Rows of a batch that share one caption: halves the work of the text encoder."""

EMA_DECAY = 0.998


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a group of views shows, which is all that a caption may say."""

    concept: Concept
    style: str
    background: str


@dataclass(frozen=True, slots=True)
class LatentViews:
    """Every taught scene with its encoded views."""

    scenes: list[Scene]
    latents: Tensor
    """float16 [scenes, views, 4, px / 8, px / 8], mean 0 and deviation 1 per channel over all views."""


def new_scheduler() -> DDIMScheduler:
    """The noise schedule. Ends near pure noise but not at it: Euler samplers divide by the signal."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.02,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def new_text_encoder(tokenizer: CLIPTokenizer, width: int = TEXT_WIDTH, layers: int = 3) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        max_position_embeddings=tokenizer.model_max_length,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def new_unet(channels: tuple[int, ...] = UNET_CHANNELS, text_width: int = TEXT_WIDTH) -> UNet2DConditionModel:
    """Attention to the words at 8x8 and below, where it is cheap; plain convolutions at 16x16."""
    unet = UNet2DConditionModel(
        sample_size=compose.NATIVE_PX // 8,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text_width,
        attention_head_dim=4,
        use_linear_projection=True,
        norm_num_groups=16,
    )
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    return unet


def taught_scenes(art: Art, concepts: tuple[Concept, ...]) -> list[Scene]:
    """Every drawn (concept, style) on every background, without the pairs that are held out."""
    drawn = art.index()
    return [
        Scene(concept=concept, style=style, background=background)
        for concept in concepts
        for style in STYLES
        for background in BACKGROUNDS
        if (concept.code, style) in drawn and not is_held_out_view(concept.code, style, background)
    ]


@torch.no_grad()
def encode_views(vae: AutoencoderKL, art: Art, scenes: list[Scene], views: int, seed: int) -> Tensor:
    """Encodes `views` new pictures of every scene: float16 [scenes, views, 4, h, w], means, not samples."""
    device = next(vae.parameters()).device
    drawn = art.index()
    encoded = []
    for number, scene in enumerate(tqdm(scenes, desc="encode", unit="scene", mininterval=5.0)):
        generator = step_generator(seed, number)
        rows = [drawn[scene.concept.code, scene.style]] * views
        plain = torch.tensor(BACKGROUNDS[scene.background]).expand(views, 3) / 255
        backgrounds = compose.jittered(plain, generator)
        images = compose.compose(compose.icon_batch(art.pixels, rows), backgrounds, compose.TAUGHT, generator)
        with torch.autocast(device.type, torch.bfloat16):
            latents = vae.encode(images.to(device, memory_format=torch.channels_last)).latent_dist.mode()
        encoded.append(latents.half().cpu().contiguous())
    return torch.stack(encoded)


def channel_statistics(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation per latent channel: two float32 [4]."""
    flat = latents.float().flatten(0, 1).transpose(0, 1).flatten(1)
    return flat.mean(1), flat.std(1)


class DenoiserTrainee:
    """UNet and text encoder under training, with the moving average of both, which is what gets exported."""

    optimiser: torch.optim.Optimizer

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        views: LatentViews,
        *,
        batch: int,
        seed: int,
        lr: float,
    ) -> None:
        self.unet, self.text_encoder, self.tokenizer, self.views = unet, text_encoder, tokenizer, views
        self.batch, self.seed = batch, seed
        self.device = next(unet.parameters()).device
        self.alphas = new_scheduler().alphas_cumprod.to(self.device)
        outer = [unet.conv_in.weight, unet.conv_out.weight]
        self.optimiser = muon_for([unet, text_encoder], lr, outer)
        self.average = nn.ModuleDict(
            {"unet": copy.deepcopy(unet), "text_encoder": copy.deepcopy(text_encoder)}
        )
        self.average.requires_grad_(False)
        self._tokens: dict[str, list[int]] = {}

    def loss(self, step: int) -> Tensor:
        """Mean squared error of the predicted velocity (Salimans and Ho 2022, arXiv:2202.00512)."""
        generator = step_generator(self.seed, step)
        latents, tokens = self._batch(generator, step)
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        times = torch.randint(len(self.alphas), (len(latents),), generator=generator).to(self.device)
        alpha = self.alphas[times][:, None, None, None]
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
        with torch.autocast(self.device.type, torch.bfloat16):
            words = self.text_encoder(tokens).last_hidden_state.repeat_interleave(VIEWS_PER_CAPTION, dim=0)
            noisy = noisy.to(memory_format=torch.channels_last)
            predicted = self.unet(noisy, times, encoder_hidden_states=words).sample
        return functional.mse_loss(predicted.float(), velocity)

    def _batch(self, generator: torch.Generator, step: int) -> tuple[Tensor, Tensor]:
        """Latents float32 [batch, 4, h, w] and token numbers int64 [batch / VIEWS_PER_CAPTION, length]."""
        chance = random.Random(f"{self.seed}:{step}:{process_rank()}")  # noqa: S311  # no secret
        groups = self.batch // VIEWS_PER_CAPTION
        picked = torch.randint(len(self.views.scenes), (groups,), generator=generator)
        view = torch.randint(self.views.latents.shape[1], (groups, VIEWS_PER_CAPTION), generator=generator)
        latents = self.views.latents[picked[:, None], view].flatten(0, 1).float()
        scenes = [self.views.scenes[number] for number in picked.tolist()]
        words = [caption(s.concept.names, s.style, s.background, chance) for s in scenes]
        return latents.to(self.device), torch.tensor([self._encoded(text) for text in words]).to(self.device)

    def _encoded(self, text: str) -> list[int]:
        if text not in self._tokens:
            self._tokens[text] = self.tokenizer(text, padding="max_length", truncation=True).input_ids
        return self._tokens[text]

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Moves the average; it forgets fast at first, so that early sheets show something."""
        keep = min(EMA_DECAY, (1 + step) / (10 + step))
        pairs = list(self._averaged())
        torch._foreach_lerp_([old for old, _ in pairs], [new for _, new in pairs], 1 - keep)

    def _averaged(self) -> Iterator[tuple[Tensor, Tensor]]:
        for name, module in (("unet", self.unet), ("text_encoder", self.text_encoder)):
            yield from zip(self.average[name].parameters(), module.parameters(), strict=True)

    def state_dict(self) -> dict[str, Any]:  # tensors by name, as torch.save takes them
        return {
            "unet": self.unet.state_dict(),
            "text_encoder": self.text_encoder.state_dict(),
            "average": self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:  # what state_dict gave
        self.unet.load_state_dict(state["unet"])
        self.text_encoder.load_state_dict(state["text_encoder"])
        self.average.load_state_dict(state["average"])


def save_views(views: LatentViews, path: Path) -> None:
    rows = [(s.concept.code, "|".join(s.concept.names), s.style, s.background) for s in views.scenes]
    torch.save({"scenes": rows, "latents": views.latents}, path)


def load_views(path: Path) -> LatentViews:
    saved = torch.load(path, weights_only=True)
    scenes = [
        Scene(concept=Concept(code=code, names=tuple(names.split("|"))), style=style, background=background)
        for code, names, style, background in saved["scenes"]
    ]
    return LatentViews(scenes, saved["latents"])
