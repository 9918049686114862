"""Engine settings: frozen, validated, built from a mapping and never from the environment."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

RUNTIMES = ("torch", "fake")
COMPILE_MODES = ("auto", "off", "regional", "whole")
GRAPH_MODES = ("auto", "off")
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
    compile: str = "auto"
    """Which part of each denoiser is compiled: "off", "regional", "whole", or "auto": regional on CUDA.

    "regional" compiles the repeated blocks in the background, for each size and number of rows that comes up;
    requests run uncompiled meanwhile. "whole" has the first call of each wait for a minute or more. Calls
    with adapters in them, and those of the exact tier, run uncompiled.
    """
    compile_cache: str = ""
    """Folder for compiled code, so that a restart does not compile again; "" keeps none.

    It holds code that is run: nobody but the appliance may write there.
    """
    learned: str = ""
    """Folder for the durations of calls, so that a restart knows how many rows to share; "" keeps none."""
    cuda_graphs: str = "auto"
    """Whether denoiser calls that repeat are replayed as CUDA graphs: "off", or "auto": on CUDA.

    Each size and number of rows is recorded after a few equal calls, once its compiled code is ready. Calls
    with adapters or ControlNets in them, and those of the exact tier, are never replayed.
    """
    fp8: bool = False
    """Keep the denoisers' weights in fp8 as well, for requests of the fast tier; half as much memory again.

    Of use from Hopper on; elsewhere on CUDA it has no effect.
    """
    reuse_threshold: float = 0.08
    """Relative change up to which a row of the fast tier reuses what deep blocks made of it; 0 never does."""
    exact_rows: int = 2
    """Forward rows of every denoiser call of the exact tier, 2 to 64, even.

    A guided image brings two, so that 2 computes nothing for nobody: on a CPU a call takes twice as long for
    twice the rows. On a GPU, where more rows are nearly free, 8 lets four images share a call. With another
    value the same seed gives other bytes.
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
        if self.compile not in COMPILE_MODES:
            raise ValueError(f"compile must be one of {', '.join(COMPILE_MODES)}, not {self.compile!r}")
        if self.cuda_graphs not in GRAPH_MODES:
            raise ValueError(f"cuda_graphs must be one of {', '.join(GRAPH_MODES)}, not {self.cuda_graphs!r}")
        if self.device not in ("auto", "cpu") and not self.device.removeprefix("cuda:").isdigit():
            raise ValueError(f"device must be auto, cpu or cuda:N, not {self.device!r}")
        if not 1 <= self.max_rows <= 256:
            raise ValueError(f"max_rows must be 1 to 256, not {self.max_rows}")
        if self.exact_rows % 2 or not 2 <= self.exact_rows <= 64:
            raise ValueError(f"exact_rows must be an even number from 2 to 64, not {self.exact_rows}")
        amounts = ("weights_budget_mb", "staging_budget_mb", "keep_alive_s", "lora_budget_mb")
        counts = ("cpu_threads", "prompt_cache_entries", "fake_step_ms", "reuse_threshold")
        for name in (*amounts, *counts):
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
