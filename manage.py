#!/usr/bin/env python
"""Django's command line: `manage.py help` lists what an operator can do."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    if "gpu_cluster" in sys.argv[1:2]:
        # django-q2 picks its section of the settings when it is imported, before any command runs.
        os.environ.setdefault("Q_CLUSTER_NAME", "gpu")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
