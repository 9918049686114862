"""`python -m tests.harness.seed N`: what a drill's database needs; runs in the appliance's environment.

Creates N accounts on a plan without limits, one key each, and a checkpoint for the fake runtime.
Prints one JSON line: the plain texts of the keys, in the order of the accounts.
"""

from __future__ import annotations

import json
import os
import sys

CHECKPOINT = "drill"


def main(accounts: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    import django

    django.setup()
    from tests.factories import make_account, make_checkpoint, make_key, make_plan

    make_plan("unlimited", calls_per_day="unlimited", queue_depth="unlimited")
    make_checkpoint(CHECKPOINT, native_px=512, max_native_side_px=2048)
    keys = [make_key(make_account(f"studio-{number}")).plaintext for number in range(accounts)]
    sys.stdout.write(json.dumps({"keys": keys}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
