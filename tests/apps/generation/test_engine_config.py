from __future__ import annotations

from typing import Any

from apps.generation.pump import engine_config
from gpu_runtime.config import EngineConfig


def test_the_operators_settings_reach_the_engine(settings: Any) -> None:
    settings.WEIGHTS_BUDGET_MB = 900
    settings.STAGING_BUDGET_MB = 800
    settings.LORA_BUDGET_MB = 70
    settings.KEEP_ALIVE_S = 60.0
    settings.COMPILE = "whole"
    settings.FP8 = True
    settings.EXACT_ROWS = 8
    settings.MAX_ROWS = 5
    settings.CPU_THREADS = 4
    settings.RUNTIME = "fake"
    settings.FAKE_STEP_MS = 3.0
    assert engine_config("cuda:1") == EngineConfig(
        runtime="fake",
        device="cuda:1",
        max_rows=5,
        cpu_threads=4,
        fake_step_ms=3.0,
        weights_budget_mb=900,
        staging_budget_mb=800,
        lora_budget_mb=70,
        keep_alive_s=60.0,
        compile="whole",
        compile_cache=str(settings.HOME_DIR / "compiled"),
        learned=str(settings.HOME_DIR / "learned"),
        fp8=True,
        exact_rows=8,
    )
