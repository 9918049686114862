"""`python -m deploy.appliance quickstart|test|manage`: what the scripts in `deploy/` hand over to."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Runs one command; its exit status."""
    command, *rest = arguments or [""]
    # Imported late: each command needs little, and starting fast is part of the promise.
    if command == "quickstart":
        from deploy.appliance.quickstart import quickstart

        return quickstart(rest)
    if command == "test":
        from deploy.appliance.suite import run_suite

        return run_suite(rest)
    if command == "manage":
        from deploy.appliance.manage import manage

        return manage(rest)
    print("usage: python -m deploy.appliance quickstart|test|manage", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
