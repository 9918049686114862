"""Without any network: a single file comes in and draws, and nothing even tries to connect."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deploy.appliance.environment import REPOSITORY
from gpu_runtime.tiny.original_layout import write_single_file
from gpu_runtime.tiny.pipelines import make_tiny
from tests.harness.appliance import Appliance, drill_folder

pytestmark = pytest.mark.slow

NAMESPACE = ("unshare", "--net") if os.getuid() == 0 else ("unshare", "--user", "--map-root-user", "--net")


def has_namespaces() -> bool:
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    if not has_namespaces():
        pytest.skip("this kernel lets nobody make a network namespace")
    with drill_folder() as folder:
        tiny = make_tiny("sd15", folder / "tiny")
        file = folder / "dark.safetensors"
        write_single_file("sd15", tiny, file)
        # The database answers on a socket in the file system, which no namespace hides.
        with Appliance(folder, runtime="torch", devices=()) as appliance:
            answer = subprocess.run(
                [*NAMESPACE, sys.executable, "-m", "tests.acceptance.in_the_dark", str(file)],
                cwd=REPOSITORY,
                env=appliance.variables | {"DARKROOM_CPU_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=280,
            )
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
    found: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return found


def test_a_single_file_becomes_a_picture(report: dict[str, Any]) -> None:
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(report["picture"]))).convert("RGB"))
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 1.0


def test_nothing_tried_to_connect(report: dict[str, Any]) -> None:
    assert report["after"] == report["before"]


def test_an_attempt_would_have_been_counted(report: dict[str, Any]) -> None:
    assert report["control"] != report["after"]
