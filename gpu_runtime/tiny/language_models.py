"""Text encoders of the newer families: language models with the real layer kinds, 16 wide.

Any throughout: untyped in transformers.
"""

from __future__ import annotations

from typing import Any

from transformers import (
    BertConfig,
    BertModel,
    Gemma2Config,
    Gemma2Model,
    GemmaConfig,
    GemmaModel,
    GlmConfig,
    GlmModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5GemmaConfig,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

from gpu_runtime.tiny import language_tokenizers as tokenizers
from gpu_runtime.tiny.seeding import seeded
from gpu_runtime.weights.own_parts import own_part

WIDTH = 16

SIZES = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
FIRST_SMOLLM_MARK = 128000
GROUPED = SIZES | {"num_key_value_heads": 1, "head_dim": 8}


def gemma(*, seed: int) -> Any:
    """Gemma, of Lumina-Next."""
    config = GemmaConfig(vocab_size=len(tokenizers.gemma()), **GROUPED)
    return seeded(lambda: GemmaModel(config), seed)


def gemma2(*, seed: int) -> Any:
    """Gemma 2, of Sana and Lumina-Image."""
    config = Gemma2Config(vocab_size=len(tokenizers.gemma()), **GROUPED)
    return seeded(lambda: Gemma2Model(config), seed)


def t5gemma_config() -> T5GemmaConfig:
    """What the configuration file of T5Gemma's encoder says: encoder and decoder."""
    side = GROUPED | {"vocab_size": len(tokenizers.gemma())}
    return T5GemmaConfig(encoder=side, decoder=side, is_encoder_decoder=False)


def t5gemma(*, seed: int) -> Any:
    """T5Gemma's encoder, of PRX."""
    return seeded(lambda: T5GemmaEncoder(t5gemma_config().encoder), seed)


def glm(*, seed: int) -> Any:
    """GLM-4, of CogView4."""
    config = GlmConfig(vocab_size=len(tokenizers.glm()), pad_token_id=0, eos_token_id=0, **GROUPED)
    return seeded(lambda: GlmModel(config), seed)


def llama(*, seed: int) -> Any:
    """Llama 3.1, of HiDream."""
    config = LlamaConfig(vocab_size=len(tokenizers.qwen()), **GROUPED)
    return seeded(lambda: LlamaForCausalLM(config), seed)


def qwen3(*, seed: int, layers: int = 2, is_causal: bool = False) -> Any:
    """Qwen3, of Z-Image and Ovis; with its output layer for FLUX.2 klein, which reads three of its layers."""
    config = Qwen3Config(vocab_size=len(tokenizers.qwen()), **(GROUPED | {"num_hidden_layers": layers}))
    network = Qwen3ForCausalLM if is_causal else Qwen3Model
    return seeded(lambda: network(config), seed)


def smollm3(*, seed: int) -> Any:
    """SmolLM3, of Bria FIBO, whose vocabulary reaches to the mark that stands for an empty prompt."""
    config = SmolLM3Config(vocab_size=FIRST_SMOLLM_MARK + 256, **(SIZES | {"num_key_value_heads": 1}))
    return seeded(lambda: SmolLM3ForCausalLM(config), seed)


def umt5(*, seed: int) -> Any:
    """Pile-T5, of AuraFlow, in transformers' class with a position bias in every layer."""
    config = UMT5Config(
        vocab_size=len(tokenizers.llama()), d_model=WIDTH, d_kv=8, d_ff=2 * WIDTH, num_layers=2, num_heads=2
    )
    return seeded(lambda: UMT5EncoderModel(config), seed)


def byt5(*, seed: int) -> Any:
    """Glyph-ByT5, of HunyuanImage, which reads the words that are to be written in the image."""
    config = T5Config(vocab_size=384, d_model=WIDTH, d_kv=8, d_ff=2 * WIDTH, num_layers=2, num_heads=2)
    return seeded(lambda: T5EncoderModel(config), seed)


def bert(*, seed: int) -> Any:
    """The bilingual CLIP's text side, of Hunyuan-DiT."""
    config = BertConfig(vocab_size=len(tokenizers.bert()), max_position_embeddings=77, **SIZES)
    return seeded(lambda: BertModel(config), seed)


def multilingual_clip(*, seed: int, projected: int) -> Any:
    """XLM-RoBERTa with a projection to CLIP's text embeddings, of Kandinsky 2.1."""
    network = own_part("MultilingualCLIP")
    config = network.config_class(
        vocab_size=len(tokenizers.xlm_roberta()),
        max_position_embeddings=128,
        pad_token_id=1,
        transformerDimSize=WIDTH,
        imageDimSize=projected,
        **SIZES,
    )
    return seeded(lambda: network(config), seed)


def roberta_series(*, seed: int, projected: int) -> Any:
    """XLM-RoBERTa with a linear layer to CLIP's width, of AltDiffusion."""
    network = own_part("RobertaSeriesModelWithTransformation")
    config = network.config_class(
        vocab_size=len(tokenizers.xlm_roberta()),
        max_position_embeddings=128,
        pad_token_id=1,
        project_dim=projected,
        **SIZES,
    )
    return seeded(lambda: network(config), seed)


def ldm_bert(*, seed: int) -> Any:
    """The text encoder that was trained with the first latent diffusion."""
    network = own_part("LDMBertModel")
    config = network.config_class(
        vocab_size=len(tokenizers.bert()),
        encoder_layers=2,
        encoder_ffn_dim=2 * WIDTH,
        encoder_attention_heads=2,
        head_dim=8,
        d_model=WIDTH,
    )
    return seeded(lambda: network(config), seed)
