"""Runs several management commands in one process, since starting Django takes a second each time.

Run as `python -m deploy.appliance.django_commands migrate --noinput -- bootstrap --json`.
"""

from __future__ import annotations

import os
import sys
from itertools import groupby

import django
from django.core.management import call_command


def main(arguments: list[str]) -> int:
    """Runs the commands between the `--` in order; the first that fails ends it with an exception."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    django.setup()
    for is_separator, words in groupby(arguments, lambda word: word == "--"):
        if not is_separator:
            call_command(*words)
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
