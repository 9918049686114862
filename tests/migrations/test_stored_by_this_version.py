"""During an upgrade workers of the version before run what this version queues: they must be able to read it.

What uses something new they cannot run; everything else is written without a key that they do not know.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.catalog.choices import ImportSource
from apps.catalog.imports.options import ImportOptions
from apps.core import clock
from apps.generation.choices import ControlType, Kind
from apps.generation.request import GenerationRequest
from apps.generation.services import job_for
from apps.generation.wishes import (
    BackgroundWish,
    ControlWish,
    DetectWish,
    ExpandWish,
    FaceSwapWish,
    HiresWish,
    LoraWish,
    UpscaleWish,
)
from tests.apps.generation.utilities import make_utilities, picture
from tests.cast import Cast
from tests.factories import make_adapter, make_checkpoint
from tests.migrations.version_before import problems

PICTURE, MASK = picture(), picture(1)
PLAIN: dict[Kind, dict[str, Any]] = {
    Kind.TXT2IMG: {},
    Kind.IMG2IMG: {"image": PICTURE},
    Kind.INPAINT: {"image": PICTURE, "mask": MASK},
    Kind.OUTPAINT: {"image": PICTURE, "expand": ExpandWish(left=50)},
    Kind.CONTROLNET: {"controls": (ControlWish(picture=PICTURE, type=ControlType.CANNY),)},
    Kind.EDIT: {"image": PICTURE, "checkpoint": "kontext"},
    Kind.UPSCALE: {"image": PICTURE, "upscale": UpscaleWish()},
    Kind.REMOVE_BACKGROUND: {"image": PICTURE, "background": BackgroundWish()},
    Kind.OBJECT_REMOVAL: {"image": PICTURE, "mask": MASK},
    Kind.FACE_SWAP: {"image": PICTURE, "face_swap": FaceSwapWish(source=MASK)},
    Kind.DETECT: {"image": PICTURE, "detect": DetectWish(type=ControlType.OPENPOSE)},
    Kind.CAPTION: {"image": PICTURE},
    Kind.MASK: {"image": PICTURE, "text": "the red part"},
    Kind.NSFW_CHECK: {"image": PICTURE},
}
"""The least of each kind. Pictures are named alone: nothing is stored."""
PARTS: dict[str, dict[str, Any]] = {
    "adapters": {"loras": (LoraWish(name="ink", scale=0.4),), "embeddings": ("calm",), "vae": "bright"},
    "hires": {"hires": HiresWish(scale=1.5)},
    "enlarged latents": {"hires": HiresWish(scale=1.5, upscaler="latent")},
    "enlarged": {"upscale": UpscaleWish()},
}


@pytest.fixture
def catalogue(db: None) -> None:
    make_utilities(is_complete=True)
    make_checkpoint()
    make_checkpoint("kontext", family="flux", variant="kontext", digest="1" * 64)
    make_adapter("edges", kind="controlnet", variant="canny")
    make_adapter("ink")
    make_adapter("calm", kind="embedding")
    make_adapter("bright", kind="vae")


def stored(cast: Cast, kind: Kind, fields: dict[str, Any]) -> dict[str, Any]:
    """The row's JSON (Any), as the database would give it back."""
    model = {} if kind in WITHOUT_MODEL else {"checkpoint": "tiny", "prompt": "a teal square"}
    request = GenerationRequest(**({"kind": kind, "checkpoint": "", "prompt": ""} | model | fields))
    job = job_for(account=cast.account, api_key=cast.key, request=request, now=clock.now())
    found: dict[str, Any] = json.loads(json.dumps(job.request))
    return found


WITHOUT_MODEL = set(Kind) - {
    Kind.TXT2IMG,
    Kind.IMG2IMG,
    Kind.INPAINT,
    Kind.OUTPAINT,
    Kind.CONTROLNET,
    Kind.EDIT,
}


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("kind", Kind)
def test_plain_job_of_each_kind(kind: Kind, cast: Cast) -> None:
    assert list(problems(stored(cast, kind, PLAIN[kind]), "request")) == []


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("part", PARTS)
def test_job_with_parts_that_are_not_new(part: str, cast: Cast) -> None:
    assert list(problems(stored(cast, Kind.TXT2IMG, PARTS[part]), "request")) == []


def test_plain_import() -> None:
    options = ImportOptions(source=ImportSource.HUB, address="lab/ink", tags=("ink",), token="secret")
    assert list(problems(options.to_json(), "import")) == []


@pytest.mark.usefixtures("catalogue")
def test_comparison_finds_what_an_older_reader_would_not_take(cast: Cast) -> None:
    """The control of this file."""
    request = stored(cast, Kind.TXT2IMG, PARTS["adapters"])
    request["adapters"]["loras"][0]["digest"] = "0" * 64
    request["is_new"] = True
    del request["steps"]
    assert list(problems(request, "request")) == [
        "is_new is unknown",
        "steps is missing",
        "adapters.loras.digest is unknown",
    ]
