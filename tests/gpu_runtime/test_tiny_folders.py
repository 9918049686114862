"""Tests share what is slow to make, and cannot see what others did to it."""

from __future__ import annotations

from pathlib import Path

from gpu_runtime.tiny.pipelines import make_tiny
from tests.gpu_runtime.tiny_folders import tiny_folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_copy_is_what_make_tiny_writes_for_the_same_seeds(tmp_path: Path) -> None:
    made = contents(make_tiny("pixart", tmp_path / "made", seed=4, shared_seed=5))
    assert contents(tiny_folder("pixart", tmp_path / "same", seed=4, shared_seed=5)) == made
    assert contents(tiny_folder("pixart", tmp_path / "other", seed=5)) != made


def test_what_is_done_to_a_copy_stays_in_it(tmp_path: Path) -> None:
    first = tiny_folder("pixart", tmp_path / "first")
    before = contents(first)
    (first / "model_index.json").write_text("{}")
    assert contents(tiny_folder("pixart", tmp_path / "second")) == before
