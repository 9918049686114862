"""One tiny checkpoint a session, and single-threaded torch so that timings and sums do not wander."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gpu_runtime.messages import CheckpointRef
from tests.gpu_runtime.tiny_models import save_checkpoint


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> CheckpointRef:
    """Epsilon prediction, PNDM configuration."""
    return save_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def v_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> CheckpointRef:
    """v-prediction, DDIM configuration, other weights."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-v"
    return save_checkpoint(folder, seed=1, prediction_type="v_prediction")
