"""A live appliance with the fake runtime, for readers who try what the guides say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from apps.api.reference.markdown import SAMPLE_LANGUAGES
from tests.harness.appliance import Appliance, drill_folder

SIDE = 512
PICTURES = ("photo.png", "portrait.png", "face.png")


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody with an address, and an account for each language."""

    url: str
    keys: dict[str, str]


@pytest.fixture(scope="session")
def reader() -> Iterator[Reader]:
    with drill_folder() as folder, Appliance(folder, fsync=False) as appliance:
        keys = json.loads(appliance.run_python("-m", "tests.guides.seed", *SAMPLE_LANGUAGES))
        yield Reader(url=f"http://127.0.0.1:{appliance.port}", keys=keys)


def lay_out(desk: Path) -> None:
    """Put the pictures that samples begin from into a folder."""
    for index, name in enumerate(PICTURES):
        picture = Image.linear_gradient("L").resize((SIDE, SIDE)).rotate(90 * index)
        picture.convert("RGB").save(desk / name)
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (128, 128, 384, 384))
    mask.save(desk / "mask.png")
    clear = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 255))
    clear.paste((0, 0, 0, 0), (128, 128, 384, 384))
    clear.save(desk / "transparent-mask.png")
