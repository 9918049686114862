"""What a config.json may say about a network, and what it may not.

Beside its architecture, a configuration can name how a network is to be run: an attention implementation,
which transformers fetches as code where it looks like a repository's name, or other files to read. How
networks run is decided here, so none of that is taken over. Knows nothing about files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpu_runtime.errors import UnsupportedCombination

ADAPTER_CONFIG = "adapter_config.json"
"""In the folder of a network, transformers takes it as the order to change the network by an adapter."""

_RUN_TIME_CHOICES = frozenset({"distributed_config", "fusion_config", "transformers_weights"})
_RUN_TIME_PREFIXES = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)
_QUANTISED = ("quantization_config", "compression_config")


def own_settings(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the network `name` without what it says about how it is to be run, at any depth.

    Raises UnsupportedCombination for a quantised network. Any: JSON.
    """
    kept = {}
    for key, value in config.items():
        if key in _QUANTISED and value is not None:
            raise UnsupportedCombination(
                f"{name} is quantised, which is not supported: import a version in float16, bfloat16 or "
                "float8"
            )
        if key in _RUN_TIME_CHOICES or key in _QUANTISED or key.startswith(_RUN_TIME_PREFIXES):
            continue
        kept[key] = own_settings(name, value) if isinstance(value, dict) else value
    return kept
