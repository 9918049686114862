"""Servers and keys that `darkroom login` has saved, for the command line and for programs of its user.

One JSON file that its owner alone may read, below XDG_CONFIG_HOME. DARKROOM_URL and DARKROOM_API_KEY go
before it, DARKROOM_PROFILE chooses in it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from darkroom.errors import DarkroomError

URL: Final = "DARKROOM_URL"
API_KEY: Final = "DARKROOM_API_KEY"
PROFILE: Final = "DARKROOM_PROFILE"
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Profile:
    """One server, and the key for it."""

    url: str = ""
    api_key: str = field(default="", repr=False)


def profiles_file() -> Path:
    """Where they are, or would be."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification: what is not absolute counts as not set.
    folder = Path(configured) if configured.startswith("/") else Path.home() / ".config"
    return folder / "darkroom" / "profiles.json"


def find_profile(name: str = "", *, url: str = "") -> Profile:
    """What the environment says, and for what it leaves out the saved profile; empty where nobody says.

    `url` goes before the environment's. A saved key goes to the server that it was saved with, and to no
    other. Raises DarkroomError for a name that was not saved.
    """
    asked = name or os.environ.get(PROFILE, "")
    saved = load_profiles()
    if asked and asked not in saved:
        known = ", ".join(sorted(saved)) or "none"
        raise DarkroomError(f"There is no profile {asked!r}; saved are: {known}. Run `darkroom login`.")
    chosen = saved.get(asked or DEFAULT, Profile())
    key = os.environ.get(API_KEY, "")
    if name:
        # Asked for by name: what is saved goes before the environment.
        place, key = url or chosen.url, ""
    else:
        place = url or os.environ.get(URL, "") or chosen.url
    return Profile(place, key or (chosen.api_key if place.rstrip("/") == chosen.url else ""))


def load_profiles() -> dict[str, Profile]:
    """All that are saved. Raises DarkroomError for a file that cannot be read."""
    path = profiles_file()
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        entries = told["profiles"]
        return {name: _profile(row) for name, row in entries.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DarkroomError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DarkroomError(f"{path} is damaged; remove it and run `darkroom login` again.") from None


def _profile(row: Mapping[str, str]) -> Profile:
    url, key = row["url"], row["api_key"]
    if not (isinstance(url, str) and isinstance(key, str)):
        raise TypeError
    return Profile(url, key)


def save_profile(name: str, profile: Profile) -> Path:
    """Add or replace one; where it was written."""
    return _write({**load_profiles(), name: profile})


def forget_profile(name: str) -> bool:
    """Whether there was one."""
    saved = load_profiles()
    if name not in saved:
        return False
    del saved[name]
    _write(saved)
    return True


def _write(profiles: Mapping[str, Profile]) -> Path:
    """Whole or not at all, and never readable for others, not for a moment."""
    path = profiles_file()
    told = {"profiles": {name: {"url": row.url, "api_key": row.api_key} for name, row in profiles.items()}}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes files that their owner alone may read.
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=".profiles-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(told, file, indent=2)
        Path(made).replace(path)
    except OSError as error:
        raise DarkroomError(f"{path} cannot be written: {error.strerror}.") from None
    return path
