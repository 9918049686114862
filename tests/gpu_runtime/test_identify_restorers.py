"""Networks that restore faces: told by their headers and names, imported as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpu_runtime.errors import NotRecognised
from gpu_runtime.people.face_restoration import open_restorer
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.importing.refusals import ImportRefused
from gpu_runtime.weights.taxonomy import ModelKind
from tests.gpu_runtime.import_jobs import Workshop
from tests.gpu_runtime.onnx_files import DOUBLE, FLOAT, INT64, write_restorer


@pytest.mark.parametrize(
    ("name", "given", "variant"),
    [
        ("gfpgan_1.4.onnx", {}, "gfpgan"),
        ("GFPGANv1.4.ONNX", {"face": ("batch", 3, 512, 512)}, "gfpgan"),
        ("restoreformer_plus_plus.onnx", {}, "restoreformer"),
        ("RestoreFormer++/model.onnx", {}, "restoreformer"),
        ("codeformer.onnx", {"weight_type": DOUBLE}, "codeformer"),
        ("faces.onnx", {"weight_type": FLOAT}, "codeformer"),
    ],
)
def test_makes_are_told_apart(name: str, given: dict[str, Any], variant: str, tmp_path: Path) -> None:
    found = identify(write_restorer(tmp_path / name, **given))
    assert (found.kind, found.variant, found.family) == (ModelKind.FACE, variant, "")
    assert found.details == {"input_px": 512}
    assert [part.name for part in found.components] == ["restorer"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "it restores faces, name the file after its make: gfpgan, codeformer, restoreformer"),
        ({"face": (1, 3, 256, 256)}, r"makes an array \[1, 3, 512, 512\]; of ONNX models only cut-out"),
        ({"restored": (1, 1000)}, r"makes an array \[1, 1000\]; .* and networks that restore faces"),
        ({"weight_type": INT64}, "takes 2 inputs"),
    ],
)
def test_others_are_refused(given: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(NotRecognised, match=says):
        identify(write_restorer(tmp_path / "mystery.onnx", **given))


@pytest.mark.parametrize("weight_type", [0, DOUBLE])
def test_imported_as_it_is_and_opened_from_the_store(weight_type: int, tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    given = {"weight_type": weight_type} if weight_type else {}
    [part] = shop.run(write_restorer(tmp_path / "gfpgan_1.4.onnx", **given), kind_hint="face").components
    assert part.name == "restorer"
    open_restorer(shop.store.component(part.digest))


def test_file_that_only_says_so_in_its_header_is_refused(tmp_path: Path) -> None:
    """It takes no third colour; onnxruntime says so when it builds the network."""
    file = write_restorer(tmp_path / "gfpgan.onnx", gain=(1.0, 1.0))
    with pytest.raises(ImportRefused, match="does not load as an ONNX model"):
        Workshop(tmp_path).run(file)
