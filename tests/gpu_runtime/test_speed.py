"""The speed table: the same pictures on both sides, and a clear refusal without a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpu_runtime.speed.comparison import Contest, compare, run
from tests.gpu_runtime.tiny_models import save_checkpoint


def test_every_question_is_answered_by_both(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "tiny")
    (Path(checkpoint.path) / "darkroom.json").write_text(
        json.dumps({"defaults": {"steps": 2, "guidance_scale": 3.0}}), encoding="utf-8"
    )
    contest = Contest(Path(checkpoint.path), "cpu")
    said: list[str] = []
    rows = compare(contest, rounds=2, report=said.append)
    contest.close()
    assert [row.images for row in rows] == [1, 4, 4]
    assert all(row.engine_s > 0 and row.diffusers_s > 0 and row.ratio > 0 for row in rows)
    assert said[-1] == "4 requests at once: round 2 of 2"
    assert contest.steps == 2


@pytest.mark.parametrize("folder", [".", "not there"])
def test_folder_without_a_checkpoint_is_one_line(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / folder
    assert run(["--checkpoint", str(asked), "--device", "cpu"]) == 1
    answer = capsys.readouterr()
    assert answer.err.startswith(f"{asked} cannot be measured: ")
    assert answer.out == ""
