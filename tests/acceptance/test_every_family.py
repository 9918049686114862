"""A hub on loopback serves tiny models of the families; each comes in by command and answers by its name.

The normal suite takes one of each kind; with DARKROOM_DRILL_COUNT set, every model there is.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gpu_runtime.tiny.lora import make_tiny_lora
from gpu_runtime.tiny.pipelines import RECIPES, make_tiny
from gpu_runtime.tiny.single_components import make_tiny_embedding, make_tiny_vae
from tests.harness.appliance import Appliance, drill_folder
from tests.harness.http_client import Client
from tests.harness.model_server import ModelServer
from tests.harness.waits import wait_until

pytestmark = pytest.mark.slow

NEED_AN_IMAGE: tuple[str, ...] = ("sd15-inpaint", "sdxl-inpaint", "sdxl-refiner", "flux-fill")
NEED_AN_IMAGE += ("qwen-image-edit", "longcat-image-edit")
# Families of our own with a UNet, with a mask and with a transformer; a pipeline of diffusers with a
# tokenizer that is code. Each import costs eight seconds of a processor; within one process,
# tests/gpu_runtime brings in every family and draws with it.
NORMALLY: tuple[str, ...] = ("sd15", "sd15-inpaint", "flux", "kolors")
SERVED = tuple(RECIPES) if os.environ.get("DARKROOM_DRILL_COUNT") else NORMALLY
"""Every model there is when the drills run in full."""
GENERATING = [name for name in SERVED if name not in NEED_AN_IMAGE]
REFUSING = [name for name in SERVED if name in NEED_AN_IMAGE]
ADAPTERS = {"ink": "lora", "bright": "vae", "calm": "embedding"}
SIDES = {"stable-cascade": 128, "wuerstchen": 128}
"""Side asked of those that make nothing smaller; 64 of the others."""
IMPORT_PATIENCE_S = 30.0 * len(SERVED)
"""Each import starts a process that needs five seconds of a processor before it reads the first byte."""

IMPORT_ALL = """
import json, sys
import django
django.setup()
from django.core.management import call_command
for source, name in json.loads(sys.argv[1]):
    call_command("models", "import", source, "--name", name, "--no-wait")
"""


@dataclass(frozen=True, slots=True)
class Gallery:
    """The running appliance with everything imported."""

    appliance: Appliance
    client: Client

    def generate(self, model_id: str, **fields: object) -> NDArray[np.uint8]:
        """The picture of one synchronous request."""
        asked = {
            "model_id": model_id,
            "prompt": "a red apple",
            "width": 64,
            "height": 64,
            "num_inference_steps": 2,
            "seed": 7,
        }
        answer = self.client.post("/api/v6/images/text2img", asked | fields)
        body = answer.json()
        assert (answer.status, body["status"]) == (200, "success"), body
        [link] = body["output"]
        picture = self.client.get(link.partition(f":{self.appliance.port}")[2])
        return np.asarray(Image.open(io.BytesIO(picture.body)).convert("RGB"))

    def refuse(self, model_id: str, **fields: object) -> str:
        answer = self.client.post("/api/v6/images/text2img", {"model_id": model_id, "prompt": "x"} | fields)
        assert answer.status == 400
        return str(answer.json()["message"])


def serve_everything(server: ModelServer, folder: Path) -> list[tuple[str, str]]:
    """Sources and the names to give them: repositories, and downloads as CivitAI has them."""
    sources = []
    for family in SERVED:
        server.add_repository(f"lab/{family}", make_tiny(family, folder / family))
        sources.append((f"lab/{family}", family))
    lora = make_tiny_lora("sd15", folder / "ink.safetensors", file_format="kohya")
    embedding = make_tiny_embedding("sd15", folder / "calm.safetensors")
    server.add_download(11, lora, name="Ink Style.safetensors")
    server.add_download(12, embedding, name="calm.safetensors")
    server.add_repository("lab/bright", make_tiny_vae("sd15", folder / "bright", seed=9))
    downloads = f"{server.url}/api/download/models"
    return [*sources, (f"{downloads}/11", "ink"), (f"{downloads}/12", "calm"), ("lab/bright", "bright")]


def imports_log(appliance: Appliance) -> str:
    """The end of what the process that imports wrote."""
    return (appliance.home / "logs" / "imports.log").read_text()[-6000:]


def imported(appliance: Appliance) -> bool:
    failed = appliance.query(
        "SELECT requested_name, error_code, error_message FROM catalog_modelimport WHERE state = 'failed'"
    )
    assert failed == [], imports_log(appliance)
    [[still_open]] = appliance.query("SELECT count(*) FROM catalog_modelimport WHERE state <> 'succeeded'")
    return bool(still_open == 0)


@pytest.fixture(scope="module")
def gallery() -> Iterator[Gallery]:
    with drill_folder() as folder, ModelServer() as server:
        (folder / "models").mkdir()
        sources = serve_everything(server, folder / "models")
        settings = server.settings() | {"DARKROOM_CPU_THREADS": "1", "DARKROOM_IMPORT_WORKERS": "2"}
        with Appliance(folder, runtime="torch", settings=settings, has_imports=True) as appliance:
            appliance.run_python("-c", IMPORT_ALL, json.dumps(sources))
            wait_until(lambda: imported(appliance), what="all imports", timeout_s=IMPORT_PATIENCE_S)
            with Client(appliance.port, key=appliance.keys[0]) as client:
                yield Gallery(appliance, client)


def entry(gallery: Gallery, name: str) -> dict[str, Any]:
    [row] = gallery.appliance.query(
        "SELECT kind, family, variant, path FROM catalog_entry WHERE name = %s", [name]
    )
    return dict(zip(("kind", "family", "variant", "path"), row, strict=True))


@pytest.mark.timeout(IMPORT_PATIENCE_S + 300)
@pytest.mark.parametrize("family", GENERATING)
def test_an_imported_model_answers_by_its_name(gallery: Gallery, family: str) -> None:
    side = SIDES.get(family, 64)
    picture = gallery.generate(family, width=side, height=side)
    assert picture.shape == (side, side, 3)
    assert picture.std() > 1.0, "a blank picture"


@pytest.mark.parametrize("family", REFUSING)
def test_a_model_that_needs_an_image_says_so(gallery: Gallery, family: str) -> None:
    assert "makes no image from a prompt alone" in gallery.refuse(family)


@pytest.mark.parametrize(("name", "kind"), ADAPTERS.items())
def test_adapters_are_recognised(gallery: Gallery, name: str, kind: str) -> None:
    found = entry(gallery, name)
    assert (found["kind"], found["family"]) == (kind, "sd15")


@pytest.mark.parametrize(
    "fields",
    [
        {"lora_model": "ink", "lora_strength": "0.8"},
        {"vae": "bright"},
        {"embeddings_model": "calm", "prompt": "a calm apple"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_an_adapter_changes_the_picture_it_is_asked_for_and_no_other(
    gallery: Gallery, fields: dict[str, object]
) -> None:
    without = {name: value for name, value in fields.items() if name == "prompt"}
    plain = gallery.generate("sd15", **without)
    assert not np.array_equal(gallery.generate("sd15", **fields), plain)
    assert np.array_equal(gallery.generate("sd15", **without), plain)


def test_a_lora_of_another_family_is_refused(gallery: Gallery) -> None:
    assert gallery.refuse("flux", lora_model="ink") == (
        "LoRA ink is made for sd15 and does not fit the model flux (flux)."
    )


def test_two_imports_of_one_model_share_their_files(gallery: Gallery) -> None:
    """sd15 and its inpainting variant differ in the denoiser alone."""
    plain, inpaint = Path(entry(gallery, "sd15")["path"]), Path(entry(gallery, "sd15-inpaint")["path"])
    same = {
        name
        for name in ("unet", "vae", "text_encoder")
        if (plain / name).resolve() == (inpaint / name).resolve()
    }
    assert same == {"vae", "text_encoder"}
