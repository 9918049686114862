"""Compiled code in files, so that a restart does not compile again.

For each torch and device, since code fits no other, one file of what this process used, which can be taken
along, and one folder in which inductor and Triton keep their own files; without us that is in /tmp, which the
next boot empties. Both hold code that is run without further ado: what others own or may write is not read.
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

INDUCTOR, TRITON = "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"
"""What torch and Triton call the folders in which they keep compiled code."""


class CompiledCache:
    """What inductor compiled, from one process to the next."""

    def __init__(self, folder: Path, device_name: str) -> None:
        """Creates the folder when something is saved."""
        fits = hashlib.sha256(f"{torch.__version__} {torch.version.cuda} {device_name}".encode())
        self.file = folder / f"compiled-{fits.hexdigest()[:16]}.bin"

        self.folder = self.file.with_suffix("")

    def take_in(self) -> bool:
        """Have inductor and Triton keep their files here, in the whole process; False where others may write.

        Sets what torch reads at each use, before which this may be called; it has no other setting for it.
        """
        try:
            folders = (self.folder.parent, self.folder)
            for folder in folders:
                # One by one: the mode is of the last folder alone.
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not all(map(_is_own, folders)):
                log.warning("compiled code is not kept in %s: others may write there", self.folder)
                return False
        except OSError as error:
            log.warning("compiled code cannot be kept in %s: %s", self.folder, error)
            return False
        for name, place in ((INDUCTOR, self.folder), (TRITON, self.folder / "triton")):
            os.environ[name] = str(place.absolute())  # noqa: TID251 - told to torch, not read
        return True

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
