"""Which classes a model_index.json may name: those of diffusers and transformers, and nothing else.

Names are looked up in the two libraries and never imported from anywhere; code that comes with a repository
is neither read nor run.
"""

from __future__ import annotations

from typing import Any

import diffusers
import transformers
from diffusers import ModelMixin, SchedulerMixin
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.own_parts import OWN_LIBRARIES, OWN_PARTS, own_part

LEFT_OUT = frozenset({"StableDiffusionSafetyChecker", "IFSafetyChecker", "IFWatermarker"})
"""Checks of the pipelines themselves: safety is decided once, outside of the checkpoint."""

NETWORK, SCHEDULER, TOKENIZER, PROCESSOR = "network", "scheduler", "tokenizer", "processor"


def find_class(library: str, name: str) -> Any:  # Any: untyped in both libraries
    """The class an index names. Raises ImportRefused for anything outside the two libraries."""
    if library in ("diffusers", "transformers", *OWN_LIBRARIES) and name in OWN_PARTS:
        found = own_part(name)
    elif library == "transformers":
        found = getattr(transformers, name, None)
    elif library == "diffusers" or library.startswith("diffusers."):
        found = getattr(diffusers, name, None)
    else:
        # Some pipelines of diffusers name their own module, which exports their own parts.
        module = getattr(diffusers.pipelines, library, None)
        found = getattr(module, name, None) if module is not None else None
    if not isinstance(found, type):
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            f"it needs {library}.{name}, which is no class of diffusers {diffusers.__version__} or "
            f"transformers {transformers.__version__}; code that comes with a model is never run",
        )
    return found


def find_pipeline(name: object) -> Any:  # Any: untyped in diffusers
    """The pipeline class an index names. Raises ImportRefused for one that diffusers does not have."""
    found = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not isinstance(found, type) or not issubclass(found, diffusers.DiffusionPipeline):
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            f"its pipeline {name!r} is none of diffusers {diffusers.__version__}; pipelines that come as "
            "code with a model are never run",
        )
    return found


def sort_of(found: Any) -> str:
    """What has to be stored for a class: NETWORK, SCHEDULER, TOKENIZER or PROCESSOR."""
    if issubclass(found, ModelMixin | PreTrainedModel):
        return NETWORK
    if issubclass(found, SchedulerMixin):
        return SCHEDULER
    if issubclass(found, PreTrainedTokenizerBase):
        return TOKENIZER
    return PROCESSOR
