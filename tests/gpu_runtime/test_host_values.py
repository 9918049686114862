"""Numbers on their way to the device: the same as torch's own, and never with a wait within a step."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import gpu_runtime
from gpu_runtime.host_values import on_device, to_device

PACKAGE = Path(gpu_runtime.__path__[0])
AT_EVERY_STEP = ("families", "controls", "ip_adapters", "stepping.py", "denoising.py")


def waiting_calls(source: str) -> list[int]:
    """Lines that call `torch.tensor` with a device."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("torch.tensor", "torch.as_tensor")
        and any(keyword.arg == "device" for keyword in node.keywords)
    ]


def test_nothing_that_runs_at_every_step_waits_to_bring_numbers() -> None:
    files = [file for name in AT_EVERY_STEP for file in ([PACKAGE / name], (PACKAGE / name).rglob("*.py"))]
    sources = {file: file.read_text() for group in files for file in group if file.suffix == ".py"}
    assert len(sources) > 20
    assert {file.name: lines for file, text in sources.items() if (lines := waiting_calls(text))} == {}
    assert waiting_calls("x = torch.tensor([1], device=d)") == [1], "the control"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_values_are_those_that_torch_makes(dtype: torch.dtype) -> None:
    for values in ([1, 2, 3], [[0.6, 1.5], [2.5, 1024.0]], []):
        made = on_device(values, dtype=dtype, device=torch.device("cpu"))
        assert made.dtype == dtype
        assert torch.equal(made, torch.tensor(values, dtype=dtype))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_is_not_waited_for() -> None:
    device = torch.device("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = on_device([1.0, 2.0], dtype=torch.float32, device=device)
        moved = to_device(torch.arange(3), device)
        with pytest.raises(RuntimeError):
            torch.tensor([1.0], device=device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert made.tolist() == [1.0, 2.0]
    assert moved.tolist() == [0, 1, 2]
