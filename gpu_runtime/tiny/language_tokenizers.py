"""Tokenizers of the large language models that newer families read prompts with: bytes and letters alone.

All of them know every byte, so any prompt in any script becomes tokens, only more of them.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import TypeVar

from tokenizers.processors import TemplateProcessing
from transformers import (
    BertTokenizer,
    GemmaTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    XLMRobertaTokenizer,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Turns of a conversation between ChatML's marks, as the Qwen models have it."""

T = TypeVar("T", bound=PreTrainedTokenizerFast)

_BYTES = [f"<0x{value:02X}>" for value in range(256)]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _starting_with(tokenizer: T, mark: str) -> T:
    """Every text starts with a mark, so that an empty prompt is one token and not none."""
    backend = tokenizer._tokenizer
    backend.post_processor = TemplateProcessing(
        single=f"{mark} $A", pair=f"{mark} $A $B", special_tokens=[(mark, backend.token_to_id(mark))]
    )
    return tokenizer


@cache
def qwen() -> Qwen2Tokenizer:
    """Byte-level, with ChatML's marks and the marks around pictures."""
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    pictures = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    pieces = [*bytes_to_unicode().values(), *marks, *pictures]
    tokenizer = Qwen2Tokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)},
        merges=[],
        additional_special_tokens=[*marks[1:], *pictures],
        model_max_length=4096,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@cache
def gemma(longest: int = 4096) -> GemmaTokenizer:
    """Letters, and bytes for the rest; what pads to the longest pads to that many tokens."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *_BYTES, "▁", *_LETTERS]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=longest, padding_side="right")
    return _starting_with(tokenizer, "<bos>")


@cache
def llama() -> LlamaTokenizer:
    """Letters, and bytes for the rest."""
    pieces = ["<unk>", "<s>", "</s>", *_BYTES, "▁", *_LETTERS]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = LlamaTokenizer(vocab=vocabulary, merges=[], pad_token="</s>", model_max_length=2048)  # noqa: S106 - no password
    return _starting_with(tokenizer, "<s>")


@cache
def glm() -> PreTrainedTokenizerFast:
    """Byte-level, in the form that names no model."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=copy.deepcopy(qwen()._tokenizer),
        pad_token="<|endoftext|>",  # noqa: S106 - no password
        eos_token="<|endoftext|>",  # noqa: S106 - no password
        padding_side="left",
        model_max_length=4096,
    )
    return _starting_with(tokenizer, "<|im_start|>")


@cache
def mistral() -> PreTrainedTokenizerFast:
    """The same with turns of a conversation: what FLUX.2's processor makes of a text."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=qwen()._tokenizer,
        pad_token="<|endoftext|>",  # noqa: S106 - no password
        eos_token="<|endoftext|>",  # noqa: S106 - no password
        model_max_length=4096,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@cache
def bert() -> BertTokenizer:
    """Single letters, at the start and inside of words."""
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *_LETTERS,
        *(f"##{letter}" for letter in _LETTERS),
    ]
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, model_max_length=77)


@cache
def xlm_roberta() -> XLMRobertaTokenizer:
    """Single letters of many languages, as pieces with equal scores."""
    marks = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces = [*marks, ("▁", -2.0), *((letter, -3.0) for letter in _LETTERS), ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=pieces, model_max_length=77)
