"""`deploy/manage`: management commands with the environment of the running appliance."""

from __future__ import annotations

import os
import sys

from deploy.appliance.environment import REPOSITORY, SettingError, child_environment, read_environment
from deploy.appliance.postgres import PrivateCluster


def manage(arguments: list[str]) -> int:  # noqa: RET503  # execve never returns
    """Becomes `manage.py` with `arguments`; 1 if the appliance's database is not running."""
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
    variables = child_environment(environment, database_url=database_url)
    os.execve(  # noqa: S606  # becoming manage.py keeps its signals and exit status
        sys.executable, [sys.executable, str(REPOSITORY / "manage.py"), *arguments], variables
    )
