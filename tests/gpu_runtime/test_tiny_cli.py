"""`python -m gpu_runtime.tiny`: paths, formats, errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from gpu_runtime.tiny.cli import run
from gpu_runtime.tiny.pipelines import RECIPES


def test_list_names_every_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"checkpoint: {', '.join(RECIPES)}"
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["sd15", "{}"], ""),
        (["sd15", "{}", "--name", "mine"], "mine"),
        (["flux-schnell", "{}", "--format", "single-file"], "flux-schnell-checkpoint.safetensors"),
        (["sdxl", "{}", "--kind", "lora"], "sdxl-lora.safetensors"),
        (["sdxl", "{}", "--kind", "embedding", "--name", "mine"], "mine.safetensors"),
        (["sd3", "{}", "--kind", "vae"], ""),
        (["sd15", "{}", "--kind", "controlnet", "--name", "canny"], "canny"),
        (["sd15-plus", "{}", "--kind", "ip-adapter"], "sd15-plus-ip-adapter.safetensors"),
        (["clip", "{}", "--kind", "picture-encoder", "--name", "eyes"], "eyes"),
    ],
)
def test_last_line_is_the_path(
    arguments: list[str], path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([argument.format(tmp_path) for argument in arguments]) == 0
    made = Path(capsys.readouterr().out.splitlines()[-1])
    assert made == tmp_path / path
    assert made.is_file() if made.suffix else list(made.rglob("*.safetensors"))


def test_seed_decides_the_file(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run(["sd15", str(tmp_path), "--kind", "lora", "--name", name, "--seed", seed]) == 0
    a, b, c = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_single_file_is_in_the_original_layout(tmp_path: Path) -> None:
    run(["sd15", str(tmp_path), "--format", "single-file", "--name", "mine"])
    names = load_file(tmp_path / "mine.safetensors")
    assert "model.diffusion_model.input_blocks.0.0.weight" in names
    assert "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight" in names


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["sd9", "{}"], "no tiny pipeline of 'sd9'"),
        (["pixart", "{}", "--kind", "lora"], "no tiny LoRA"),
        (["pixart", "{}", "--format", "single-file"], "no single-file layout"),
        (["sd15", "{}", "--kind", "lora", "--format", "single-file"], "is for checkpoints"),
        (["sd15", "{}", "--name", "../mine"], "one file name"),
        (["flux", "{}", "--kind", "embedding"], "no tiny embedding"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_status_2(
    arguments: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    assert run([argument.format(target) for argument in arguments]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not target.exists()


@pytest.mark.parametrize(
    "arguments", [[], ["sd15"], ["sd15", "x", "--seed", "-1"], ["sd15", "x", "--kind", "hat"]]
)
def test_wrong_arguments_are_explained(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_info:
        run(arguments)
    assert exit_info.value.code == 2
    assert "usage" in capsys.readouterr().err
    assert not Path("x").exists()


def test_folder_that_cannot_be_written_is_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run(["sd15", str(tmp_path / "file" / "sub"), "--kind", "lora"]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.slow
def test_module_runs_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpu_runtime.tiny", "sd15", str(tmp_path / "tiny")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.splitlines()[-1] == str(tmp_path / "tiny")
    assert (tmp_path / "tiny" / "model_index.json").is_file()
