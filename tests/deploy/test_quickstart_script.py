"""The scripts themselves: arguments, refusal before anything is changed, and shellcheck."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = [
    "deploy/quickstart",
    "deploy/test",
    "deploy/manage",
    "deploy/tools/lock",
    "deploy/lib/bootstrap.sh",
    "tests/tools/types",
    ".ci/run",
]


def quickstart(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(REPOSITORY / "deploy" / "quickstart"), *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_the_options_and_the_environment() -> None:
    answer = quickstart("--help")
    assert answer.returncode == 0
    options = ("--once", "--bench", "--verbose")
    for word in (*options, "DARKROOM_HOME", "DARKROOM_PORT", "DARKROOM_DEVICE", "DATABASE_URL"):
        assert word in answer.stdout


def test_unknown_argument_is_refused_with_the_usage() -> None:
    answer = quickstart("--onse")
    assert answer.returncode == 2
    assert "unknown argument --onse" in answer.stderr
    assert "Usage:" in answer.stderr
    assert answer.stdout == ""


def test_busy_port_stops_it_before_anything_is_changed(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        answer = quickstart("--once", DARKROOM_HOME=str(tmp_path / "home"), DARKROOM_PORT=str(port))
    assert answer.returncode == 1
    assert "nothing has been changed yet" in answer.stdout
    assert f"DARKROOM_PORT={port + 10} deploy/quickstart" in answer.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_shellcheck_clean(script: str) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (apt-get install shellcheck)")
    answer = subprocess.run([shellcheck, "-x", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert answer.stdout == ""


@pytest.mark.parametrize("script", [script for script in SCRIPTS if not script.endswith(".sh")])
def test_scripts_are_executable_and_stop_at_the_first_error(script: str) -> None:
    path = REPOSITORY / script
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text()
