from __future__ import annotations

import pytest

from apps.catalog.models import CatalogEntry
from tests.apps.api.modelslab.workbench import install_utilities
from tests.factories import make_adapter, make_checkpoint


@pytest.fixture
def utilities(checkpoint: CatalogEntry) -> dict[str, CatalogEntry]:
    """What ships: upscalers, detectors, cut-outs, faces, the image check."""
    return install_utilities()


@pytest.fixture
def controlnets(utilities: dict[str, CatalogEntry]) -> dict[str, CatalogEntry]:
    """ControlNets for the model `tiny`, by their variant."""
    variants = ("canny", "openpose", "depth", "tile", "inpaint", "softedge")
    return {
        variant: make_adapter(f"control-{variant}", kind="controlnet", variant=variant)
        for variant in variants
    }


@pytest.fixture
def editor(checkpoint: CatalogEntry) -> CatalogEntry:
    """A checkpoint that edits up to ten pictures together."""
    return make_checkpoint("flux-kontext-dev", family="flux", variant="kontext")


@pytest.fixture
def readers(utilities: dict[str, CatalogEntry]) -> dict[str, CatalogEntry]:
    """Models that write captions and find what a text names; they do not ship."""
    return {
        variant: make_adapter(variant.replace("_", "-"), kind="preprocessor", family="", variant=variant)
        for variant in ("caption", "text_mask")
    }


@pytest.fixture
def face_adapter(utilities: dict[str, CatalogEntry]) -> CatalogEntry:
    """An IP-adapter for faces, with the model that sees for it."""
    make_adapter("clip-vision", kind="preprocessor", family="", variant="image_encoder")
    return make_adapter("ip-adapter-plus-face_sd15", kind="ip_adapter", variant="plus")
