"""Tiny Kolors: XL's UNet with a projection of the text, read by ChatGLM3. Any: untyped in diffusers."""

from __future__ import annotations

import io
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
from diffusers import EulerDiscreteScheduler, KolorsPipeline, UNet2DConditionModel
from torch import nn

from gpu_runtime.tiny.autoencoders import kl_autoencoder
from gpu_runtime.tiny.seeding import Seeds, seeded
from gpu_runtime.tiny.stable_diffusion import ATTENTION_INSIDE, BETAS, TIME_IDS_WIDTH
from gpu_runtime.weights.own_parts import own_part

TEXT_WIDTH = 16
"""Of ChatGLM; really 4096."""

CONTEXT_WIDTH = 32
"""Of the projected text; really 2048."""

SIZE_NUMBERS = 6

VOCABULARY = "tokenizer.model"

SENTENCES = ("a red apple on a table", "seven blue boats at night, in the rain", "the quick brown fox jumps")
"""What the tokenizer is trained on: words it does not know are cut into bytes."""


@cache
def _vocabulary_folder() -> tempfile.TemporaryDirectory[str]:
    """A SentencePiece model, trained anew with equal bytes each time; the tokenizer copies it when saved."""
    folder = tempfile.TemporaryDirectory()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=320,
        hard_vocab_limit=False,
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
    )
    (Path(folder.name) / VOCABULARY).write_bytes(model.getvalue())
    return folder


def _tokenizer() -> Any:
    return own_part("ChatGLMTokenizer")(str(Path(_vocabulary_folder().name) / VOCABULARY))


def _text_encoder() -> Any:
    network = own_part("ChatGLMModel")
    config = network.config_class(
        num_layers=2,
        padded_vocab_size=len(_tokenizer().get_vocab()) + 64,
        hidden_size=TEXT_WIDTH,
        ffn_hidden_size=2 * TEXT_WIDTH,
        kv_channels=8,
        num_attention_heads=2,
        seq_length=512,
        multi_query_attention=True,
        multi_query_group_num=1,
        add_qkv_bias=True,
        original_rope=True,
    )
    encoder = network(config, empty_init=False)
    for name, parameter in encoder.named_parameters():
        if name.endswith("norm.weight"):
            # The library leaves them to a checkpoint.
            nn.init.ones_(parameter)
    return encoder


def kolors(seeds: Seeds) -> Any:
    """Kolors."""
    unet = seeded(
        lambda: UNet2DConditionModel(
            sample_size=128,
            down_block_types=ATTENTION_INSIDE,
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(10, 20, 40),
            norm_num_groups=10,
            layers_per_block=2,
            attention_head_dim=(5, 10, 20),
            transformer_layers_per_block=(1, 2, 3),
            use_linear_projection=True,
            cross_attention_dim=CONTEXT_WIDTH,
            encoder_hid_dim=TEXT_WIDTH,
            encoder_hid_dim_type="text_proj",
            addition_embed_type="text_time",
            addition_time_embed_dim=TIME_IDS_WIDTH,
            projection_class_embeddings_input_dim=TEXT_WIDTH + SIZE_NUMBERS * TIME_IDS_WIDTH,
        ),
        seeds.denoiser,
    )
    return KolorsPipeline(
        unet=unet,
        vae=kl_autoencoder("sdxl", seed=seeds.shared),
        text_encoder=seeded(_text_encoder, seeds.shared),
        tokenizer=_tokenizer(),
        scheduler=EulerDiscreteScheduler(**(BETAS | {"num_train_timesteps": 1100, "beta_end": 0.014})),
    )
