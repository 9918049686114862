from __future__ import annotations

import os
import subprocess
import sys

import pytest

READ = "from django.conf import settings; print(settings.HF_ENDPOINT)"


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({}, "https://huggingface.co"),
        ({"HF_ENDPOINT": "https://mirror.example/"}, "https://mirror.example"),
        (
            {"HF_ENDPOINT": "https://mirror.example", "DARKROOM_HF_ENDPOINT": "https://own.example"},
            "https://own.example",
        ),
    ],
)
def test_a_mirror_goes_by_either_name(given: dict[str, str], endpoint: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("HF_ENDPOINT")}
    answer = subprocess.run(
        [sys.executable, "-c", READ], env=inherited | given, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == endpoint
