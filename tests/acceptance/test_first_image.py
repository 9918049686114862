"""What a newcomer sees: quickstart's own image, and the README's commands as they stand there."""

from __future__ import annotations

import io
import json
import re
import subprocess
import urllib.request
from typing import Any

import psutil
import pytest
from PIL import Image

from deploy.appliance.environment import REPOSITORY
from tests.acceptance.conftest import Quickstart
from tests.acceptance.pictures import is_same, pixels
from tests.harness.waits import wait_until

pytestmark = pytest.mark.slow

README_PORT = "127.0.0.1:8000"


def image_of(link: str) -> Image.Image:
    """Fetched without credentials."""
    with urllib.request.urlopen(link, timeout=30) as response:
        assert response.headers["Content-Type"] == "image/png"
        return Image.open(io.BytesIO(response.read())).convert("RGB")


def readme_commands() -> list[str]:
    """The curl commands in README.md's shell blocks."""
    text = (REPOSITORY / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    commands = [part.strip() for block in blocks for part in re.split(r"\n\n", block)]
    return [command for command in commands if command.startswith("curl")]


def run_readme(command: str, quickstart: Quickstart) -> str:
    answer = subprocess.run(
        ["bash", "-c", command.replace(README_PORT, f"127.0.0.1:{quickstart.port}")],
        env={"KEY": quickstart.key, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_quickstart_leaves_a_picture_with_the_asked_background(quickstart: Quickstart) -> None:
    image = Image.open(quickstart.home / "first-image.png").convert("RGB")
    corners = [image.getpixel((x, y)) for x in (1, image.width - 2) for y in (1, image.height - 2)]
    assert image.width == image.height >= 128
    assert all(blue > red and blue > green for red, green, blue in corners), corners


def test_quickstart_prints_where_everything_is(quickstart: Quickstart) -> None:
    told = quickstart.output.read_text()
    for expected in ("first-image.png", "curl -s", f"{quickstart.url}/", quickstart.key, "operator@"):
        assert expected in told


def test_the_readme_commands_work_as_written(quickstart: Quickstart) -> None:
    generate, fetch, events = readme_commands()

    made = json.loads(run_readme(generate, quickstart))
    assert made["status"] == "success", made
    assert image_of(made["output"][0]).size == (128, 128)

    fetched = json.loads(run_readme(fetch, quickstart))
    assert fetched["status"] == "success"
    assert fetched["id"] == 1

    assert "event: done" in run_readme(events, quickstart)


def test_the_same_seed_gives_the_same_image_and_samples_differ(quickstart: Quickstart) -> None:
    fields = {"key": quickstart.key, "model_id": "starter", "prompt": "a red apple", "seed": 3, "samples": 2}
    ours, again = ([pixels(image_of(link)) for link in output_of(quickstart, fields)] for _ in range(2))
    assert [is_same(*pair) for pair in zip(ours, again, strict=True)] == [True, True]
    assert not is_same(*ours)


def test_everything_holds_after_the_first_images(quickstart: Quickstart) -> None:
    answer = subprocess.run(
        [str(REPOSITORY / "deploy" / "manage"), "invariants"],
        env={"DARKROOM_HOME": str(quickstart.home), "PATH": "/usr/bin:/bin", "HOME": str(quickstart.home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "violated" not in answer.stdout


def test_ctrl_c_stops_every_process_it_started(quickstart: Quickstart) -> None:
    family = quickstart.family()
    assert len(family) > 5
    quickstart.interrupt()
    assert quickstart.process.returncode == 0
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def output_of(quickstart: Quickstart, fields: dict[str, object]) -> list[str]:
    """The links of a request; on a busy machine they have to be fetched."""
    first = post(quickstart, "/api/v6/images/text2img", fields)
    key: dict[str, object] = {"key": quickstart.key}

    def ended() -> dict[str, Any] | None:
        answer = first
        if first["status"] == "processing":
            answer = post(quickstart, f"/api/v6/images/fetch/{first['id']}", key)
        return None if answer["status"] == "processing" else answer

    answer = wait_until(ended, what="the images")
    assert answer["status"] == "success", answer
    return list(answer["output"])


def post(quickstart: Quickstart, path: str, fields: dict[str, object]) -> dict[str, Any]:
    request = urllib.request.Request(
        quickstart.url + path, json.dumps(fields).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
