"""Where weights lie: content-hashed components, and checkpoints that are links to them. Knows no torch.

    components/<sha256>/    one component, or one adapter file with its facts; never changed once there
    checkpoints/<sha256>/   model_index.json, darkroom.json and relative links into components
    staging/                files in flight; what is placed or removed passes through here

A folder appears whole or not at all: it is written elsewhere in the same file system, synced and renamed. The
name of a component is `digest_folder` of its files, the name of a checkpoint `digest_manifest` of what it is
made of, so equal weights have one folder. Links are read as text and must name a component: nothing here ever
follows a link out of the store. Which entries the catalogue has is not known here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpu_runtime.errors import WeightsCorrupt

DIGEST = re.compile(r"[0-9a-f]{64}")
MANIFEST = "darkroom.json"
INDEX = "model_index.json"
_LINK = re.compile(r"\.\./\.\./components/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderDigest:
    """What the files of a folder amount to."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A folder in the store."""

    path: Path
    digest: str
    size_bytes: int
    is_new: bool
    """False when the same content was there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How much there is; shared components count once."""

    components: int
    checkpoints: int
    size_bytes: int


def digest_of(files: Mapping[str, str], size_bytes: int) -> FolderDigest:
    """The digest of a folder whose files have these relative names and sha256s.

    The same as `apps.catalog.files.digest_folder` computes.
    """
    whole = hashlib.sha256()
    # Paths sort by their parts ("a/b" before "a.b"), names as text do not.
    for name in sorted(files, key=lambda name: name.split("/")):
        whole.update(f"{name}\0{files[name]}\n".encode())
    return FolderDigest(digest=whole.hexdigest(), size_bytes=size_bytes)


def digest_folder(folder: Path) -> FolderDigest:
    """Read every file of a folder and compute its digest.

    Raises WeightsCorrupt when it is empty or holds anything but files and folders.
    """
    files = _plain_files(folder)
    if not files:
        raise WeightsCorrupt(f"{folder} is empty")
    digests: dict[str, str] = {}
    for name, file in files.items():
        with file.open("rb") as stream:
            digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digest_of(digests, sum(file.stat().st_size for file in files.values()))


def digest_manifest(manifest: Mapping[str, object], index: Mapping[str, object]) -> str:
    """The digest of a checkpoint: what it is made of, whatever it was imported from."""
    essence = {name: manifest[name] for name in ("family", "variant", "components")}
    text = json.dumps({**essence, "model_index": index}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The folder of all weights, `MODEL_DIR`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.components = self.root / "components"
        self.checkpoints = self.root / "checkpoints"
        self.staging = self.root / "staging"

    def prepare(self) -> None:
        """Make the folders that are missing."""
        for folder in (self.components, self.checkpoints, self.staging):
            folder.mkdir(parents=True, exist_ok=True)

    def component(self, digest: str) -> Path:
        """Where a component lies or would lie. Raises ValueError for what is no digest."""
        return self.components / _require_digest(digest)

    def checkpoint(self, digest: str) -> Path:
        """Where a checkpoint lies or would lie. Raises ValueError for what is no digest."""
        return self.checkpoints / _require_digest(digest)

    def list_components(self) -> list[str]:
        """Digests of the components that are there."""
        return _digests_in(self.components)

    def list_checkpoints(self) -> list[str]:
        """Digests of the checkpoints that are there."""
        return _digests_in(self.checkpoints)

    def place_component(self, folder: Path, known: FolderDigest | None = None) -> Placed:
        """Move a finished folder in under its digest; `known` saves hashing it again.

        When the component is there already, its files are verified, its grace period begins anew and `folder`
        is removed. Raises WeightsCorrupt when the one that is there is damaged.
        """
        contents = known or digest_folder(folder)
        target = self.component(contents.digest)
        is_new = self._place(folder, target)
        if not is_new:
            self.require_intact(contents.digest)
            os.utime(target)
        return Placed(path=target, digest=contents.digest, size_bytes=contents.size_bytes, is_new=is_new)

    def place_checkpoint(self, folder: Path) -> Placed:
        """Move in a finished checkpoint folder: index, manifest and links to components that are there.

        Raises WeightsCorrupt when it is anything else.
        """
        manifest, index = _read_json(folder / MANIFEST), _read_json(folder / INDEX)
        linked = self._links(folder)
        named = {name: str(entry) for name, entry in _components_of(manifest).items()}
        missing = [digest for digest in linked.values() if not self.component(digest).is_dir()]
        if linked != named or missing:
            raise WeightsCorrupt(f"{folder} and its manifest name different components, or some not there")
        digest = digest_manifest(manifest, index)
        target = self.checkpoint(digest)
        is_new = self._place(folder, target)
        size = sum(_folder_bytes(self.component(each)) for each in set(linked.values()))
        return Placed(path=target, digest=digest, size_bytes=size, is_new=is_new)

    def components_of(self, checkpoint: str) -> dict[str, str]:
        """Digest of each component of a checkpoint, by its name. Raises WeightsCorrupt for a damaged one."""
        return self._links(self.checkpoint(checkpoint))

    def users_of(self, component: str) -> list[str]:
        """Checkpoints that link to a component."""
        return [
            digest for digest in self.list_checkpoints() if component in self.components_of(digest).values()
        ]

    def remove_checkpoint(self, digest: str) -> bool:
        """Remove a checkpoint's folder; its components stay for `sweep`. False when it is not there."""
        return self._remove(self.checkpoint(digest))

    def remove_component(self, digest: str) -> bool:
        """Remove a component that no checkpoint links to. False when it is not there or in use."""
        return not self.users_of(digest) and self._remove(self.component(digest))

    def sweep(self, *, keep: Collection[str], now: float, grace_s: float) -> list[str]:
        """Remove components that no checkpoint links to and that are not in `keep`; returns their digests.

        `keep` are the components that entries of the catalogue refer to directly. Components placed within
        `grace_s` of `now` (seconds since the epoch) stay: an import may be about to register them.
        """
        used = {digest for each in self.list_checkpoints() for digest in self.components_of(each).values()}
        unused = [digest for digest in self.list_components() if digest not in used and digest not in keep]
        old = [digest for digest in unused if self.component(digest).stat().st_mtime < now - grace_s]
        return [digest for digest in old if self._remove(self.component(digest))]

    def totals(self) -> Totals:
        """What the store holds."""
        components = self.list_components()
        size = sum(_folder_bytes(self.component(digest)) for digest in components)
        return Totals(components=len(components), checkpoints=len(self.list_checkpoints()), size_bytes=size)

    def verify(self, digest: str) -> list[str]:
        """Read a component, or a checkpoint with all its components; returns what is wrong, one line each."""
        if self.component(digest).is_dir():
            try:
                found = digest_folder(self.component(digest)).digest
            except WeightsCorrupt as fault:
                return [str(fault)]
            return [] if found == digest else [f"component {digest} has other content: {found}"]
        folder = self.checkpoint(digest)
        if not folder.is_dir():
            return [f"{digest} is not in the store"]
        try:
            components = self._links(folder)
            found = digest_manifest(_read_json(folder / MANIFEST), _read_json(folder / INDEX))
        except WeightsCorrupt as fault:
            return [str(fault)]
        problems = [] if found == digest else [f"checkpoint {digest} has another manifest: {found}"]
        return problems + [line for each in sorted(set(components.values())) for line in self.verify(each)]

    def require_intact(self, component: str) -> None:
        """Raises WeightsCorrupt when a component that is there no longer has the content of its name."""
        problems = self.verify(component)
        if problems:
            raise WeightsCorrupt(
                f"{problems[0]}; the disk may be failing: remove that folder and import its models again"
            )

    def _links(self, folder: Path) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            if entry.name in (INDEX, MANIFEST) and entry.is_file() and not entry.is_symlink():
                continue
            match = _LINK.fullmatch(str(entry.readlink())) if entry.is_symlink() else None
            if match is None:
                raise WeightsCorrupt(f"{entry} is no link to a component")
            found[entry.name] = match[1]
        return found

    def _place(self, folder: Path, target: Path) -> bool:
        if target.is_dir():
            shutil.rmtree(folder)
            return False
        sync_tree(folder)
        try:
            folder.rename(target)
        except OSError:
            # Another import placed the same content in between; a folder with files cannot be renamed over.
            # Within the sandbox that is a lack of rights: it may add to the store and replace nothing there.
            if not target.is_dir():
                raise
            shutil.rmtree(folder)
            return False
        _sync(target.parent)
        return True

    def _remove(self, folder: Path) -> bool:
        self.staging.mkdir(parents=True, exist_ok=True)
        going = self.staging / f".removed-{secrets.token_hex(8)}"
        try:
            folder.rename(going)
        except FileNotFoundError:
            return False
        shutil.rmtree(going)
        return True


def sync_tree(folder: Path) -> None:
    """Have every file and folder below, and the folder itself, on the disk."""
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink():
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_digest(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is no sha256 in hexadecimal")
    return digest


def _digests_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    entries = (entry for entry in folder.iterdir() if DIGEST.fullmatch(entry.name))
    return sorted(entry.name for entry in entries if entry.is_dir() and not entry.is_symlink())


def _plain_files(folder: Path) -> dict[str, Path]:
    """Files below by their relative names. Raises WeightsCorrupt for links and other special entries."""
    files: dict[str, Path] = {}
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise WeightsCorrupt(f"{path} is neither a file nor a folder")
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = path
    return files


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in _plain_files(folder).values())


def _components_of(manifest: Mapping[str, object]) -> Mapping[str, object]:
    components = manifest.get("components")
    if not isinstance(components, dict):
        raise WeightsCorrupt(f"{MANIFEST} names no components")
    return components


def _read_json(file: Path) -> dict[str, object]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsCorrupt(f"{file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise WeightsCorrupt(f"{file} is no object")
    return values
