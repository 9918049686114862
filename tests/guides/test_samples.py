"""Every sample of every guide does what its guide says, against a live server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from standardwebhooks.webhooks import Webhook

from apps.config.version import REPOSITORY_ROOT
from tests.guides.conftest import Reader, lay_out
from tests.guides.samples import ALL, RECEIVES, Sample
from tests.harness.appliance import free_port
from tests.harness.waits import wait_until

TIMEOUT_S = 120.0
AT_ONCE = 4
PROGRAMS = {"curl": ("bash", "curl", "jq"), "python": (sys.executable,), "javascript": ("node",)}
"""What a sample in each language needs; deploy/test installs it where it can."""
FILES = {"curl": "sample.sh", "python": "sample.py", "javascript": "sample.mjs"}
COMMANDS = {
    "curl": ("bash", "-euo", "pipefail", "sample.sh"),
    "python": (sys.executable, "sample.py"),
    "javascript": ("node", "sample.mjs"),
}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sample."""

    status: int
    output: str
    complaint: str
    desk: Path


def start(sample: Sample, desk: Path, reader: Reader, **variables: str) -> subprocess.Popen[str]:
    (desk / FILES[sample.language]).write_text(sample.code, encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(desk),
        "PYTHONPATH": str(REPOSITORY_ROOT / "apps" / "client"),
        "DARKROOM_URL": reader.url,
        "DARKROOM_API_KEY": reader.keys[sample.language],
        **variables,
    }
    return subprocess.Popen(
        COMMANDS[sample.language],
        cwd=desk,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def missing_programs(sample: Sample) -> list[str]:
    return [name for name in PROGRAMS[sample.language] if shutil.which(name) is None]


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, reader: Reader, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    """Of the samples that this run is about, several at a time: most of them wait for something."""

    def run(sample: Sample) -> Outcome:
        desk = tmp_path_factory.mktemp(sample.id)
        lay_out(desk)
        process = start(sample, desk, reader)
        output, complaint = process.communicate(timeout=TIMEOUT_S)
        return Outcome(process.returncode, output, complaint, desk)

    items: list[Any] = request.session.items  # Any: those with parameters say of which
    wanted = {
        item.callspec.params["sample"] for item in items if getattr(item, "originalname", "") == "test_sample"
    }
    runnable = [sample for sample in ALL if sample in wanted and not missing_programs(sample)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {sample.id: done for sample, done in zip(runnable, pool.map(run, runnable), strict=True)}


@pytest.mark.parametrize(
    "sample", [sample for sample in ALL if RECEIVES not in sample.expected], ids=lambda sample: sample.id
)
def test_sample(sample: Sample, outcomes: dict[str, Outcome]) -> None:
    if sample.id not in outcomes:
        pytest.skip(f"{', '.join(missing_programs(sample))} is not installed")
    outcome = outcomes[sample.id]

    assert outcome.status == 0, outcome.complaint + outcome.output
    assert sample.expected, "say before the sample what is expected of it"
    for kind, words in sample.expected:
        if kind == "prints":
            assert any(word in outcome.output for word in words.split("|")), outcome.output
        else:
            name, size = words.split()
            with Image.open(outcome.desk / name) as image:
                assert (image.format, f"{image.width}x{image.height}") == ("PNG", size)


@pytest.mark.parametrize(
    "sample", [sample for sample in ALL if RECEIVES in sample.expected], ids=lambda sample: sample.id
)
def test_receivers_take_what_is_signed_and_nothing_else(
    sample: Sample, reader: Reader, tmp_path: Path
) -> None:
    if missing_programs(sample):
        pytest.skip(f"{', '.join(missing_programs(sample))} is not installed")
    port = free_port()
    process = start(sample, tmp_path, reader, DARKROOM_WEBHOOK_SECRET=SECRET, PORT=str(port))
    body = json.dumps({"type": "job.succeeded", "data": {"id": 7, "state": "succeeded"}})
    now = datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, body),
    }
    try:
        wait_until(lambda: post(port, body, headers) == 204, what="the receiver")
        forged = headers | {"webhook-signature": Webhook("whsec_AAAA").sign("msg_1", now, body)}
        assert post(port, body, forged) == 401
        assert post(port, body.replace("7", "8"), headers) == 401
    finally:
        process.terminate()
        output, complaint = process.communicate(timeout=TIMEOUT_S)

    assert "ended: 7 succeeded" in output, complaint


def post(port: int, body: str, headers: dict[str, str]) -> int | None:
    """The status; None while nobody listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}", body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return None
