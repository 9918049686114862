"""The contact sheet's one command, for a few kinds at a small size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.generation.choices import ControlType, Kind, Replacement
from tests.contact_sheet.__main__ import chosen, main
from tests.contact_sheet.cases import CASES

pytestmark = pytest.mark.slow


def names(kind: Kind) -> set[str]:
    return {case.name for case in CASES if case.kind is kind}


def test_every_kind_detector_side_and_replacement_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(Kind)
    assert {kind.value for kind in ControlType} == names(Kind.DETECT)
    assert {"left", "right", "top", "bottom"} < names(Kind.OUTPAINT)
    assert {f"replaced: {how.value or 'not at all'}" for how in Replacement} < names(Kind.UPSCALE)
    assert len({(case.section, case.name) for case in CASES}) == len(CASES)


def test_an_unknown_word_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "sheet"), "--only", "sculpture"]) == 2
    assert "no case has sculpture" in capsys.readouterr().err
    assert not (tmp_path / "sheet").exists()


@pytest.mark.timeout(300)
def test_one_command_leaves_pictures_sheets_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["threshold", "another sampler", "caption"]
    assert len(chosen(words)) == 3
    assert main([str(tmp_path), "--only", *words, "--largest-px", "96"]) == 0

    told = capsys.readouterr().out
    assert "3/3" in told
    assert "model_not_installed" in told
    files = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert files == [
        "in-coffee.png",
        "maps-for-controlnets-threshold-0.png",
        "text-to-image-another-sampler-0.png",
    ]
    threshold = np.asarray(Image.open(tmp_path / "pictures" / files[1]))
    assert threshold.shape == (64, 96, 3)
    assert set(np.unique(threshold)) == {0, 255}
    page = (tmp_path / "index.html").read_text()
    for shown in (*files, "model_not_installed", "threshold", "s of work", "karras"):
        assert shown in page
    sheet = np.asarray(Image.open(tmp_path / "text-to-image.png"))
    assert sheet.shape[1] > 500
    assert sheet.std() > 5
