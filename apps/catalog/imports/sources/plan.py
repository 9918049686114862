"""What a source offers, in one shape for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file to fetch."""

    name: str
    """Path below the import's folder, with slashes."""
    url: str
    size: int | None
    """None while unknown."""
    sha256: str = ""
    """What the source promises, "" when it promises nothing."""

    @property
    def identity(self) -> str:
        """What a half-finished download must agree on to be continued."""
        return self.sha256 or self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an import has to bring in."""

    files: tuple[RemoteFile, ...] = ()
    """To fetch; empty when everything is on this machine."""
    path: Path | None = None
    """Where it lies already, for what is on this machine."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials for the files' own host."""
    name: str = ""
    """What the source calls it; a name for the entry when nobody chose one."""
    revision: str = ""
    """The commit that was found, for hub repositories."""
    licence: str = ""
    fingerprint: str = ""
    """Of `reimport.fingerprint_of`, "" when it is known only after the download."""

    @property
    def total_bytes(self) -> int:
        """Of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def folder(self) -> str:
        """The deepest folder below the import's own that holds all files: a model may be a part of a
        repository."""
        parents = [PurePosixPath(file.name).parent for file in self.files]
        shared = [parents[0], *parents[0].parents] if parents else [PurePosixPath()]
        return str(next(each for each in shared if all(parent.is_relative_to(each) for parent in parents)))
