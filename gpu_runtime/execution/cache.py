"""Compiled code in a file, so that a restart does not compile again.

One file for each torch and device, since code fits no other. It holds code that is run without further ado: a
file or folder that others own or may write is not read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from pathlib import Path

import torch

log = logging.getLogger(__name__)

MOST_BYTES = 2**30
"""Larger files are not read, so that what nobody uses any more does not come along for ever."""


class CompiledCache:
    """What inductor compiled, from one process to the next."""

    def __init__(self, folder: Path, device_name: str) -> None:
        """Creates the folder when something is saved."""
        fits = hashlib.sha256(f"{torch.__version__} {torch.version.cuda} {device_name}".encode())
        self.file = folder / f"compiled-{fits.hexdigest()[:16]}.bin"

    def load(self) -> bool:
        """Bring back what was saved; False where there is nothing that can be used. Never raises."""
        try:
            if not (_is_own(self.file.parent) and _is_own(self.file)):
                log.warning("compiled code in %s is not read: others may write there", self.file)
                return False
            if self.file.stat().st_size > MOST_BYTES:
                return False
            saved = self.file.read_bytes()
        except OSError:
            return False
        try:
            return torch.compiler.load_cache_artifacts(saved) is not None
        except Exception:
            # Whatever is wrong with the file, compiling anew mends it.
            log.warning("compiled code in %s is of no use", self.file, exc_info=True)
            return False

    def save(self) -> None:
        """Write what was compiled or loaded so far in this process; a failure is logged."""
        try:
            artifacts = torch.compiler.save_cache_artifacts()
            if artifacts is None:
                return
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Beside it, in a place of this process alone: workers of like devices save to one file.
            with tempfile.TemporaryDirectory(dir=self.file.parent, prefix=".saving-") as beside:
                written = Path(beside) / self.file.name
                written.touch(mode=0o600)
                written.write_bytes(artifacts[0])
                written.replace(self.file)
        except Exception:
            # Nothing depends on it, and the thread that compiles goes on.
            log.warning("compiled code could not be saved in %s", self.file, exc_info=True)


def _is_own(path: Path) -> bool:
    """Whether nobody but this process's user, and the superuser, may change what is there."""
    found = path.stat()
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
