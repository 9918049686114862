"""Engine settings: frozen, validated, built from a mapping and never from the environment."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

RUNTIMES = ("torch", "fake")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Settings of one engine.

    Raises ValueError for values outside the ranges below.
    """

    runtime: str = "torch"
    """"torch", or "fake": the deterministic stand-in for load tests."""
    device: str = "auto"
    """"auto", "cpu" or "cuda:N"."""
    dtype: str = "auto"
    """Denoiser dtype; "auto" is bfloat16 on CUDA and float32 on the CPU."""
    max_rows: int = 16
    """Most images that share one step, 1 to 256."""
    cpu_threads: int = 0
    """torch intra-op threads on the CPU; 0 leaves torch's own choice."""
    prompt_cache_entries: int = 256
    """Encoded prompts kept for reuse, 0 to switch off."""
    weights_budget_mb: float = 0
    """Most megabytes of weights on the device; 0 derives it from the device's memory and measured peaks."""
    staging_budget_mb: float = 0
    """Most megabytes of weights kept in host memory beside the device; 0 takes half of the free memory."""
    keep_alive_s: float = 0.0
    """Seconds without use after which a checkpoint leaves the device; 0 keeps it until room is needed."""
    lora_budget_mb: int = 512
    """Most megabytes of adapters kept ready."""
    compile_denoiser: bool = False
    """Compile each denoiser at its first call, which takes a minute or more; later calls are faster.

    Calls with LoRAs in them run uncompiled.
    """
    check_invariants: bool = False
    """Run Engine.check_invariants() after every step; slow, for tests."""
    fake_step_ms: float = 0.0
    """Duration of one fake step in milliseconds."""

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}, not {self.runtime!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if self.device not in ("auto", "cpu") and not self.device.removeprefix("cuda:").isdigit():
            raise ValueError(f"device must be auto, cpu or cuda:N, not {self.device!r}")
        if not 1 <= self.max_rows <= 256:
            raise ValueError(f"max_rows must be 1 to 256, not {self.max_rows}")
        amounts = ("weights_budget_mb", "staging_budget_mb", "keep_alive_s", "lora_budget_mb")
        for name in ("cpu_threads", "prompt_cache_entries", "fake_step_ms", *amounts):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """Build from names and values; an unknown name is refused with the nearest known one."""
        known = {item.name for item in fields(cls)}
        for name in values:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
                raise ValueError(f"unknown engine setting {name!r}{hint}")
        return cls(**values)  # type: ignore[arg-type]  # each value is checked in __post_init__
