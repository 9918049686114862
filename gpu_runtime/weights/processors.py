"""Processors of texts and pictures without torchvision, which stays out of the appliance.

transformers makes these classes from three parts and insists on one for videos, which needs torchvision. The
classes here are the same with that part left out, and pictures go through the library's Pillow variant: texts
and pictures become the same tokens and pixels, and no pipeline for images ever hands over a video.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import (
    GlmImageImageProcessorPil,
    GlmImageProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
    Siglip2ImageProcessorPil,
)

CONFIGS = ("preprocessor_config.json", "processor_config.json")


def _accept(processor: Any, name: str, part: Any) -> type:
    """In place of the library's check of each part's class, which looks up the missing one for videos."""
    return type(part)


def _save_parts(processor: Any, folder: str, **_: Any) -> None:
    """In place of the library's way of saving, which asks every part for its class."""
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)


def _without_videos(processor: Any) -> Any:
    """The class of transformers with both replaced, under its own name. Any: untyped there."""
    own = {
        "__module__": processor.__module__,
        "check_argument_for_proper_class": _accept,
        "save_pretrained": _save_parts,
    }
    return type(processor.__name__, (processor,), own)


PROCESSORS: Mapping[str, tuple[Any, Any, Any]] = {
    "GlmImageProcessor": (GlmImageProcessor, GlmImageImageProcessorPil, PreTrainedTokenizerFast),
    "Qwen2VLProcessor": (_without_videos(Qwen2VLProcessor), Qwen2VLImageProcessorPil, Qwen2Tokenizer),
    "Qwen2_5_VLProcessor": (_without_videos(Qwen2_5_VLProcessor), Qwen2VLImageProcessorPil, Qwen2Tokenizer),
    "Qwen3VLProcessor": (_without_videos(Qwen3VLProcessor), Qwen2VLImageProcessorPil, Qwen2Tokenizer),
}
"""By name: the processor, what reads its pictures, and what reads its texts."""


PICTURE_READERS: Mapping[str, Any] = {
    "Siglip2ImageProcessor": Siglip2ImageProcessorPil,
    "Siglip2ImageProcessorFast": Siglip2ImageProcessorPil,
}
"""Processors of pictures alone."""


def make_processor(class_name: str, tokenizer: Any, pictures: Any = None, chat_template: Any = None) -> Any:
    """A processor of these parts, by default with the library's own settings for pictures."""
    processor, picture_class, _ = PROCESSORS[class_name]
    return processor(
        picture_class() if pictures is None else pictures, tokenizer, chat_template=chat_template
    )


def read_processor(class_name: str, folder: Path) -> Any:
    """The processor of a component's folder. Raises what transformers raises for damaged files."""
    if class_name in PICTURE_READERS:
        return PICTURE_READERS[class_name].from_pretrained(str(folder), local_files_only=True)
    processor, picture_class, tokenizer_class = PROCESSORS[class_name]
    tokenizer = tokenizer_class.from_pretrained(str(folder), local_files_only=True)
    is_described = any((folder / name).is_file() for name in CONFIGS)
    pictures = picture_class.from_pretrained(str(folder), local_files_only=True) if is_described else None
    settings, _ = (
        processor.get_processor_dict(str(folder), local_files_only=True) if is_described else ({}, {})
    )
    return make_processor(
        class_name, tokenizer, pictures, settings.get("chat_template") or tokenizer.chat_template
    )
