"""`deploy/manage`: management commands with the environment of the running appliance."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from deploy.appliance.environment import REPOSITORY, SettingError, child_environment, read_environment
from deploy.appliance.postgres import PrivateCluster


def manage(arguments: list[str]) -> int:  # noqa: RET503  # execve never returns
    """Becomes `manage.py` in the folder `arguments[0]` with the other arguments.

    1 if the appliance's database is not running. Relative paths of settings mean the folder that this runs
    in, as they do for deploy/quickstart; those of commands mean the caller's.
    """
    caller, *command = arguments
    try:
        environment = read_environment()
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    database_url = environment.database_url
    if database_url is None:
        cluster = PrivateCluster(environment.home)
        if not cluster.is_running():
            print(f"no database is running in {environment.home}; start deploy/quickstart", file=sys.stderr)
            return 1
        database_url = cluster.url
    variables = _with_whole_paths(child_environment(environment, database_url=database_url))
    with suppress(OSError):
        # The appliance's user may not be allowed in there; then nothing relative was meant either.
        os.chdir(caller)
    os.execve(  # noqa: S606  # becoming manage.py keeps its signals and exit status
        sys.executable, [sys.executable, str(REPOSITORY / "manage.py"), *command], variables
    )


def _with_whole_paths(variables: dict[str, str]) -> dict[str, str]:
    paths = {
        name: str(Path(value).expanduser().absolute())
        for name, value in variables.items()
        if value and name.startswith("DARKROOM_") and name.endswith(("_DIR", "_FILE"))
    }
    return variables | paths
