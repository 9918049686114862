"""What a weights file can be: the words that identification, the store and the catalogue share. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Detail: TypeAlias = "str | int | float | bool | tuple[str, ...]"


class ModelKind(StrEnum):
    """What a catalogue entry is."""

    CHECKPOINT = "checkpoint"
    """Base-model weights that make images by themselves."""
    LORA = "lora"
    """Low-rank adapter for a checkpoint of its family: LoRA, LoCon, LoHa, LoKr."""
    CONTROLNET = "controlnet"
    VAE = "vae"
    EMBEDDING = "embedding"
    """Textual-inversion vectors."""
    TEXT_ENCODER = "text_encoder"
    """A text encoder with its tokenizer, shared by checkpoints that come without (T5 for SD3 and Flux)."""
    IP_ADAPTER = "ip_adapter"
    UPSCALER = "upscaler"
    BACKGROUND_REMOVAL = "background_removal"
    FACE = "face"
    """Detection, landmarks, swap or restoration of faces."""
    PREPROCESSOR = "preprocessor"
    """Makes control images: edges, depth, pose."""
    SAFETY = "safety"
    """Scores images or prompts."""


class FileFormat(StrEnum):
    """How the weights are laid out."""

    DIFFUSERS = "diffusers"
    """A folder with model_index.json, or one component's folder with config.json."""
    SINGLE_FILE = "single_file"
    """One file in the layout of the original trainer (LDM, BFL, SAI)."""
    KOHYA = "kohya"
    PEFT = "peft"
    DIFFUSERS_LORA = "diffusers_lora"
    LYCORIS = "lycoris"
    """LoHa, LoKr, LoCon and the like."""
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentFacts:
    """One network inside a file or folder."""

    name: str
    """Its name in the diffusers layout: "unet", "transformer", "vae", "text_encoder", "text_encoder_2"…"""
    class_name: str
    """diffusers' or transformers' class; "" where it is not a loadable network."""
    size_bytes: int
    tensors: int
    dtype: str
    """Of most of its bytes, in safetensors' spelling: "F16", "BF16", "F32", "F8_E4M3"…"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """What headers and configuration files say about weights. No tensor was read."""

    kind: ModelKind
    family: str
    """A key of `family_facts.FAMILY_FACTS`, "" for what belongs to no base model (upscalers)."""
    variant: str
    """Within the family: "base", "inpaint", "refiner", "turbo", "lightning", "schnell", "dev", "kontext",
    "medium", "large"… For ControlNets the control type. "" where there is none."""
    file_format: FileFormat
    components: tuple[ComponentFacts, ...]
    size_bytes: int
    title: str = ""
    """What the file calls itself, if it does."""
    trigger_words: tuple[str, ...] = ()
    licence: str = ""
    """As far as the file's own metadata says."""
    details: Mapping[str, Detail] = field(default_factory=dict)
    """Facts of the kind: "rank", "alpha", "algorithm" (LoRA); "scale" (upscaler); "vectors" (embedding);
    "prediction_type", "pipeline_class", "missing" (checkpoint; the last names what a single file lacks)."""
