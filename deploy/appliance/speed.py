"""`deploy/quickstart --bench`: how fast the starter model is here, before anything else runs."""

from __future__ import annotations

import subprocess
import sys

from deploy.appliance.environment import REPOSITORY, Environment, tool_environment
from deploy.appliance.terminal import Terminal


def measure_speed(environment: Environment, terminal: Terminal) -> bool:
    """Print seconds per image beside plain diffusers; False if that failed, which is said."""
    terminal.heading("Speed", "the starter model beside plain diffusers, a minute or two on two cores")
    if not terminal.is_live:
        terminal.line("  ... measuring")
    # A process of its own: torch's memory is free again before the appliance starts.
    measured = subprocess.run(
        [sys.executable, "-m", "gpu_runtime.speed", "--device", environment.device],
        cwd=REPOSITORY,
        env=tool_environment(),
        check=False,
    )
    if measured.returncode:
        terminal.failed(f"The measurement ended with status {measured.returncode}")
    return measured.returncode == 0
