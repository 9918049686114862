"""The import child as a program of its own, in its sandbox: results, refusals, and what it may not do."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gpu_runtime.weights.import_child import BLOCKED_EVENTS
from gpu_runtime.weights.importing import launch
from gpu_runtime.weights.importing.launch import Conversion, ImportCanceled, ImportRequest, import_in_sandbox
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.sandbox import Outcome, SandboxResult
from tests.gpu_runtime.import_jobs import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def convert(workshop: Workshop, source: Path, **options: object) -> Conversion:
    work = workshop.store.staging / "1"
    work.mkdir()
    request = ImportRequest(source=source, store=workshop.store.root, work=work, **options)  # type: ignore[arg-type]
    try:
        return import_in_sandbox(request, on_progress=lambda *event: workshop.progress.append(event))
    finally:
        shutil.rmtree(work)


@pytest.mark.slow
def test_single_file_comes_in(workshop: Workshop) -> None:
    file = workshop.single_file("sd15", "sd15")
    expected = workshop.run(file)
    shutil.rmtree(workshop.store.root)

    conversion = convert(workshop, file)

    result = conversion.result
    assert result == expected.to_json() | {"path": str(workshop.store.checkpoint(expected.digest))}
    assert workshop.store.verify(expected.digest) == []
    assert list(workshop.store.staging.iterdir()) == []
    assert ("verifying", 0, 0) in workshop.progress
    assert workshop.progress[-1][1] == workshop.progress[-1][2] > 0
    assert conversion.sandbox.is_network_isolated


@pytest.mark.slow
def test_refusal_comes_with_its_code(workshop: Workshop) -> None:
    file = workshop.root / "mystery.safetensors"
    save_file({"some.layer": torch.zeros(3)}, file)

    with pytest.raises(ImportRefused) as refused:
        convert(workshop, file)

    assert refused.value.code == RefusalCode.NOT_RECOGNISED
    assert "mystery.safetensors" in refused.value.message
    assert workshop.contents() == {}


@pytest.mark.slow
def test_file_too_large_for_the_memory_is_refused_as_that(workshop: Workshop) -> None:
    """An old pickle is read whole: with less memory than that, the conversion ends and says why.

    The libraries take 520 MB and the file 700: the limit lies well above the one and below the sum.
    """
    file = workshop.root / "style.pt"
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{name}.lora_down.weight": torch.zeros(175, 10**6),
        f"{name}.lora_up.weight": torch.zeros(320, 175),
    }
    torch.save(tensors, file, _use_new_zipfile_serialization=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "PICKLES", frozenset())
        with pytest.raises(ImportRefused) as refused:
            convert(workshop, file, memory_bytes=900 << 20)

    assert refused.value.code == RefusalCode.OUT_OF_MEMORY
    assert workshop.contents() == {}


@pytest.mark.slow
def test_cancel_leaves_nothing_behind(workshop: Workshop) -> None:
    file = workshop.single_file("sd15", "sd15")
    work = workshop.store.staging / "1"
    work.mkdir()

    with pytest.raises(ImportCanceled):
        import_in_sandbox(
            ImportRequest(source=file, store=workshop.store.root, work=work), is_canceled=lambda: True
        )

    assert workshop.contents() == {}


def test_work_folder_on_another_disk_is_an_error_of_the_caller(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Path("/dev/shm")
    if work.stat().st_dev == workshop.root.stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own here")

    with pytest.raises(ValueError, match="is not in the file system of"):
        import_in_sandbox(ImportRequest(source=workshop.root, store=workshop.store.root, work=work))


def test_component_that_is_not_what_it_says_is_removed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pickle would do that took over the child."""
    good = workshop.run(workshop.tiny("sd15"))
    false = "0" * 64
    file = workshop.root / "evil.ckpt"
    file.write_bytes(b"anything")

    def take_over(*arguments: object, on_line: Callable[[str], None], **options: object) -> SandboxResult:
        (workshop.store.component(false)).mkdir()
        (workshop.store.component(false) / "config.json").symlink_to("/etc/passwd")
        (workshop.store.checkpoint(false)).mkdir()
        (workshop.store.checkpoint(false) / "unet").symlink_to("/etc")
        on_line(json.dumps({"event": "done", "result": {"digest": false}}))
        return ended(Outcome.EXITED, exit_code=0)

    monkeypatch.setattr(launch, "run_sandboxed", take_over)
    before = workshop.store.list_components()

    with pytest.raises(ImportRefused) as refused:
        convert(workshop, file)

    assert refused.value.code == RefusalCode.UNSAFE_FILE
    assert workshop.store.list_components() == before
    assert workshop.store.list_checkpoints() == [good.digest]
    assert workshop.store.verify(good.digest) == []


def ended(outcome: Outcome, *, exit_code: int | None = None, stderr: str = "") -> SandboxResult:
    return SandboxResult(
        outcome=outcome,
        exit_code=exit_code,
        stderr_tail=stderr,
        protections={},
        wall_s=1.0,
        peak_memory_bytes=1,
    )


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (ended(Outcome.TIMEOUT), RefusalCode.TIMEOUT, "did not end within 360 s"),
        (
            ended(Outcome.OUT_OF_MEMORY),
            RefusalCode.OUT_OF_MEMORY,
            "more than 6.4 GB of memory: its operator can raise DARKROOM_IMPORT_MEMORY_MB",
        ),
        (
            ended(Outcome.CRASHED, stderr="a\nSegmentation fault"),
            RefusalCode.WEIGHTS_CORRUPT,
            "Segmentation fault",
        ),
        (
            ended(Outcome.EXITED, exit_code=1, stderr="ValueError: odd"),
            RefusalCode.WEIGHTS_CORRUPT,
            "ValueError: odd",
        ),
        (ended(Outcome.TOO_TALKATIVE), RefusalCode.WEIGHTS_CORRUPT, "too_talkative"),
    ],
)
def test_every_end_is_a_refusal_by_name(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, result: SandboxResult, code: RefusalCode, words: str
) -> None:
    file = workshop.root / "x.safetensors"
    file.write_bytes(struct.pack("<Q", 2) + b"{}")
    monkeypatch.setattr(launch, "run_sandboxed", lambda *arguments, **options: result)

    with pytest.raises(ImportRefused) as refused:
        convert(workshop, file)

    assert refused.value.code == code
    assert words in refused.value.message


def test_interpreter_itself_blocks_what_weights_never_need() -> None:
    """For kernels that isolate nothing: the hook cannot be taken off again, so it is tried in a process."""
    attempts = {
        "socket.connect": "import socket; socket.socket().connect(('127.0.0.1', 9))",
        "subprocess.Popen": "import subprocess; subprocess.run(['true'])",
        "os.system": "import os; os.system('true')",
    }
    assert attempts.keys() <= BLOCKED_EVENTS
    for event, attempt in attempts.items():
        code = "import sys\nfrom gpu_runtime.weights import import_child\n"
        code += "sys.addaudithook(import_child._refuse_what_weights_never_need)\n" + attempt
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"PermissionError: {event} is not allowed while weights are read" in done.stderr
