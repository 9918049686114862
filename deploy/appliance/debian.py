"""Installs Debian packages without questions, as root. Knows nothing about why they are wanted."""

from __future__ import annotations

import os
import subprocess

from deploy.appliance.terminal import Step

_WORDS_SHOWN = ("Get:", "Unpacking", "Setting up", "Reading", "Err:")


def install_debian_packages(packages: list[str], step: Step | None = None) -> str:
    """Installs `packages`, with fresh package lists if the first try fails.

    Returns why it failed, or an empty string.
    """
    install = [
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        "-o",
        "Dpkg::Options::=--force-confold",
        *packages,
    ]
    problem = _apt(install, step)
    if problem:  # package lists are missing on a new machine and out of date on an old one
        problem = _apt(["apt-get", "update"], step) or _apt(install, step)
    return problem


def _apt(command: list[str], step: Step | None) -> str:
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "UCF_FORCE_CONFFOLD": "1", "LC_ALL": "C"}
    last = ""
    with subprocess.Popen(
        command,
        env=quiet,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as apt:
        assert apt.stdout is not None
        for line in apt.stdout:
            last = line.strip() or last
            if step is not None and line.startswith(_WORDS_SHOWN):
                step.detail = last
    return "" if apt.returncode == 0 else f"{' '.join(command[:2])}: {last}"
