"""Pictures of every page of the portal, to be looked at.

    python -m tests.portal_screens FOLDER [--only WORD ...] [--theme light dark] [--language en de]

Starts a server of its own on a throw-away database (DATABASE_URL names the PostgreSQL server), fills it with
a believable customer (`seed.py`) and takes each page of `pages.py` at 390 and 1440 px in Chromium. Exits 1
when a page answers with an error, asks another machine for anything, or is wider than the window.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="darkroom-screens-"))
(HOME / "static").mkdir()


def main() -> int:
    """The exit status."""
    options = _parser().parse_args()
    _prepare()
    import django

    django.setup()
    from tests.portal_screens.camera import take_all
    from tests.portal_screens.server import served

    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        with served() as (url, seeded):
            problems = take_all(
                url,
                seeded,
                options.folder,
                only=options.only,
                themes=options.theme,
                languages=options.language,
            )
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _prepare() -> None:
    # Settings are read once, on import.
    os.environ["DJANGO_SETTINGS_MODULE"] = "apps.config.settings"
    os.environ["DARKROOM_HOME"] = str(HOME)
    os.environ.setdefault("DARKROOM_SECRET_KEY", "screens-secret-key")
    os.environ.setdefault("DARKROOM_KEY_PEPPER", "screens-key-pepper")
    # Playwright keeps an event loop in this thread; nothing here is asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.portal_screens", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="words in the names of pages")
    parser.add_argument("--theme", nargs="*", default=["light", "dark"])
    parser.add_argument("--language", nargs="*", default=["en"])
    return parser


if __name__ == "__main__":
    sys.exit(main())
