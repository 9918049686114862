"""What one run of the command said, and answers that it may get."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.client.scripted import Answer
from tests.factories import png_bytes

PNG = png_bytes()
IMAGE = {"url": "http://x/media/a.png", "media_type": "image/png", "width": 8, "height": 8, "seed": 3}
DONE = {"id": 7, "state": "succeeded", "kind": "txt2img", "images": [IMAGE]}
FILE = Answer(body=PNG, headers={"Content-Type": "image/png"})


class Ran:
    """One run."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]
