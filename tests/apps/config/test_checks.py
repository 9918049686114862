"""The checks between settings catch what they are for, and let the defaults pass."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks


def found(*, deploy: bool = False) -> dict[str | None, CheckMessage]:
    return {
        message.id: message for message in run_checks(tags=["darkroom"], include_deployment_checks=deploy)
    }


def test_defaults_pass() -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("name", "value", "check_id", "deploy"),
    [
        ("HEARTBEAT_S", 5.0, "config.E001", False),
        ("RUNTIME", "fake", "config.W001", False),
        ("SYNC_WAIT_S", 30.0, "config.W002", False),
        ("FETCH_ALLOW", ["10.0.0.0/8", "mirror.example.com"], "config.E003", False),
        ("HF_ENDPOINT", "huggingface.co", "config.E004", False),
        ("DEBUG", True, "config.E002", True),
        ("BASE_URL", "http://127.0.0.1:8000", "config.W003", True),
    ],
)
def test_checks(settings: Any, name: str, value: object, check_id: str, deploy: bool) -> None:
    assert check_id not in found(deploy=deploy)

    setattr(settings, name, value)

    assert found(deploy=deploy)[check_id].hint
