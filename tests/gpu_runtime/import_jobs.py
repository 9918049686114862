"""Imports in this process, for tests: a store in a temporary folder, tiny models in it and beside it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from gpu_runtime.tiny.original_layout import write_single_file
from gpu_runtime.weights.importing.importer import run_import
from gpu_runtime.weights.importing.job import Imported, ImportJob
from gpu_runtime.weights.store import Store
from tests.gpu_runtime.tiny_folders import tiny_folder


@dataclass
class Workshop:
    """One store and what is brought to it."""

    root: Path
    progress: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def store(self) -> Store:
        store = Store(self.root / "store")
        store.prepare()
        return store

    def tiny(self, recipe: str, **seeds: int) -> Path:
        """A tiny pipeline in the diffusers layout."""
        folder = self.root / "sources" / "-".join([recipe, *map(str, seeds.values())])
        return folder if folder.is_dir() else tiny_folder(recipe, folder, **seeds)

    def single_file(self, recipe: str, family: str, only: tuple[str, ...] | None = None) -> Path:
        """The same in one file of the original trainer's layout."""
        name = "-".join([recipe, *(only or ())])
        return write_single_file(family, self.tiny(recipe), self.root / f"{name}.safetensors", only=only)

    def run(
        self, source: Path, *, precision: str = "keep", donors: tuple[Path, ...] = (), **hints: str
    ) -> Imported:
        """Import into the store; the work folder is gone afterwards, as the parent sees to it."""
        work = self.store.staging / "work"
        work.mkdir()
        job = ImportJob(
            source=source,
            store=self.store,
            work=work,
            precision=precision,
            donors=donors,
            on_progress=lambda *event: self.progress.append(event),
        )
        try:
            return run_import(job, **hints)
        finally:
            shutil.rmtree(work)

    def contents(self) -> dict[str, int]:
        """Every file in the store and its size."""
        files = [file for file in self.store.root.rglob("*") if file.is_file()]
        return {file.relative_to(self.store.root).as_posix(): file.stat().st_size for file in files}


def digests(imported: Imported) -> dict[str, str]:
    """Digest of each component by its name."""
    return {each.name: each.digest for each in imported.components}
