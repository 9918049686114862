"""IP-adapters that come in together with the encoder of pictures in their repository."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpu_runtime.errors import NotRecognised, WeightsCorrupt
from gpu_runtime.tiny.ip_adapters import make_tiny_ip_adapter, make_tiny_picture_encoder
from gpu_runtime.weights.identification import ip_adapters
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.taxonomy import ModelKind
from tests.gpu_runtime.control_references import ExtraNetworks
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.import_jobs import Workshop, digests
from tests.gpu_runtime.rendering import render


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def repository(workshop: Workshop, adapter: str = "sd15", encoder: str = "clip") -> Path:
    """As h94's: the adapter and its encoder below one folder."""
    folder = workshop.root / "sources" / adapter
    (folder / "models").mkdir(parents=True)
    make_tiny_ip_adapter(adapter, folder / "models" / "ip-adapter.safetensors")
    make_tiny_picture_encoder(encoder, folder / "models" / "image_encoder")
    (folder / "README.md").write_text("A card.")
    return folder


@pytest.mark.parametrize(
    ("adapter", "encoder", "family", "sight"),
    [
        ("sd15", "clip", "sd15", ("CLIPVisionModelWithProjection", 16, "summary")),
        ("sd15-plus", "clip", "sd15", ("CLIPVisionModelWithProjection", 20, "tokens")),
        ("sd15-full", "clip", "sd15", ("CLIPVisionModelWithProjection", 20, "tokens")),
        ("sd3.5-medium", "siglip", "sd3", ("SiglipVisionModel", 20, "tokens")),
        ("flux", "clip", "flux", ("CLIPVisionModelWithProjection", 16, "summary")),
    ],
)
def test_both_come_in_as_two_components(
    workshop: Workshop, adapter: str, encoder: str, family: str, sight: tuple[str, int, str]
) -> None:
    folder = repository(workshop, adapter, encoder)

    imported = workshop.run(folder)

    found = imported.identified
    assert (found.kind, found.family) == (ModelKind.IP_ADAPTER, family)
    assert tuple(found.details[each] for each in ("encoder_class", "picture_width", "reads")) == sight
    alone = workshop.run(folder / "models" / "image_encoder")
    assert digests(imported) == {"ip_adapter": imported.digest, "image_encoder": alone.digest}
    assert imported.details["image_encoder"]["encoder_class"] == sight[0]
    # Where the encoder lay is no part of what the adapter is.
    assert workshop.run(folder / "models" / "ip-adapter.safetensors").digest == imported.digest
    done, total = workshop.progress[-1][1:]
    assert done == total > 0


def test_imported_pair_prompts_with_pictures_as_the_published_one(workshop: Workshop) -> None:
    extra = ExtraNetworks(workshop.root)
    published = extra.adapter("sd15", 1)
    pair = workshop.root / "sources" / "pair"
    shutil.copytree(published.encoder_path, pair / "image_encoder")
    shutil.copyfile(published.path, pair / "ip-adapter.safetensors")
    imported = workshop.run(pair)
    stored = replace(
        published,
        path=str(imported.path / "weights.safetensors"),
        digest=imported.digest,
        encoder_path=str(workshop.store.component(digests(imported)["image_encoder"])),
        encoder_digest=digests(imported)["image_encoder"],
    )
    checkpoint = FamilyCheckpoints(workshop.root / "checkpoints").plain("sd15")
    images = render(
        [
            image_request(name, checkpoint, width=64, height=64, seeds=(1,), steps=2, ip_adapters=adapters)
            for name, adapters in (("published", (published,)), ("stored", (stored,)), ("none", ()))
        ]
    )
    assert np.abs(images["published/0"].pixels - images["stored/0"].pixels).max() <= 1
    assert np.abs(images["published/0"].pixels - images["none/0"].pixels).max() > 1


def test_encoder_that_does_not_fit_is_refused_by_name(workshop: Workshop) -> None:
    folder = repository(workshop, "sd15", "siglip")
    with pytest.raises(
        NotRecognised, match="sees with a CLIPVisionModelWithProjection of 16 projected values"
    ):
        identify(folder)


def test_torn_encoder_is_corrupt(workshop: Workshop) -> None:
    folder = repository(workshop)
    weights = folder / "models" / "image_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(WeightsCorrupt):
        identify(folder)


def test_several_adapters_beside_an_encoder_are_a_choice(workshop: Workshop) -> None:
    folder = repository(workshop) / "models"
    shutil.copyfile(folder / "ip-adapter.safetensors", folder / "ip-adapter-light.safetensors")
    with pytest.raises(NotRecognised, match="holds 2 models"):
        identify(folder)
    # The same twice, once as a pickle of older releases, is one.
    (folder / "ip-adapter-light.safetensors").rename(folder / "ip-adapter.bin")
    assert identify(folder).kind is ModelKind.IP_ADAPTER


def test_what_neither_side_says_fits_anything() -> None:
    adapter = {"encoder_class": "CLIPVisionModelWithProjection", "picture_width": 1024, "reads": "summary"}
    small = {"encoder_class": "CLIPVisionModelWithProjection", "width": 1280, "projected": 1024}
    large = {"encoder_class": "CLIPVisionModelWithProjection", "width": 1664, "projected": 1280}
    assert ip_adapters.is_fitting(adapter, small)
    assert not ip_adapters.is_fitting(adapter, large)
    assert ip_adapters.is_fitting(adapter | {"picture_width": 1280, "reads": "tokens"}, small)
    assert not ip_adapters.is_fitting(adapter, {"encoder_class": "SiglipVisionModel", "width": 1024})
    assert ip_adapters.is_fitting({}, large)
    assert ip_adapters.is_fitting(adapter, {})
