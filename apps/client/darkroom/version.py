"""Which release of the client this is, as its distribution says."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("darkroom-client")
except PackageNotFoundError:
    # Copied into a program without its metadata.
    VERSION = "unknown"
