"""`manage.py gpu_cluster` with the real engine, a tiny checkpoint, and a family that fails on request.

What its prompts ask for is described in `tests/gpu_runtime/faulty_family.py`. torch is loaded before the
first fork, so that a worker's successor starts at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def prepare_engine(folder: Path) -> None:
    """Save the checkpoint; every process forked from here on builds an engine that can fail."""
    import torch

    from gpu_runtime import factory
    from gpu_runtime.engine import Engine
    from gpu_runtime.workshop.torch_tools import torch_tools
    from gpu_runtime.workshop.workshop import Workshop
    from tests.gpu_runtime.faulty_family import Faults
    from tests.gpu_runtime.tiny_models import save_checkpoint

    # Threads of a parallel region would not survive the fork.
    torch.set_num_threads(1)
    save_checkpoint(folder)
    families = {"sd15": Faults().load}
    factory.build_engine = lambda config: Workshop(Engine(config, families=families), torch_tools("cpu"))


def main(folder: str, arguments: list[str]) -> None:
    os.environ.setdefault("Q_CLUSTER_NAME", "gpu")
    import django
    from django.core.management import call_command

    django.setup()
    prepare_engine(Path(folder))
    call_command("gpu_cluster", *arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
