"""What starting the web process loads, seen from a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

from apps.config.version import REPOSITORY_ROOT

HEAVY = ("torch", "diffusers", "transformers", "cv2", "onnxruntime", "scipy")


def test_web_process_loads_no_model_code() -> None:
    program = (
        "import sys, apps.config.wsgi\n"
        "from django.urls import get_resolver\n"
        "get_resolver().url_patterns\n"
        # fpng registers cv2 without loading it: a stand-in of another type.
        f"print([name for name in {HEAVY!r} if type(sys.modules.get(name)) is type(sys)])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY_ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
