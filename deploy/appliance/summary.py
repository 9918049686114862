"""What the operator reads after the first image: where it is, what made it, how to sign in, how to stop."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.appliance.environment import Environment, default_home, find_variable
from deploy.appliance.terminal import Terminal
from deploy.appliance.thumbnail import draw_thumbnail


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstImage:
    """The image that was made just now."""

    path: Path
    size_px: tuple[int, int] | None
    elapsed_s: float
    """From the request to the file on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the summary tells."""

    environment: Environment
    bootstrap_email: str
    bootstrap_password: str | None
    """Only if the operator was created just now."""
    api_key: str
    key_is_new: bool
    key_file: Path
    plan: str
    calls_per_day: int | None
    endpoint: str
    payload: dict[str, Any]
    """Body of the request, without the key."""


def print_summary(terminal: Terminal, facts: Facts, image: FirstImage | None, *, is_running: bool) -> None:
    """Writes it. The password and a new key appear here and never again."""
    environment = facts.environment
    terminal.line()
    terminal.rule()
    if image is not None:
        if terminal.shows_true_colour(find_variable("COLORTERM")):
            for line in draw_thumbnail(image.path):
                terminal.line(f"  {line}")
            terminal.line()
        width, height = image.size_px or (0, 0)
        _row(terminal, "First image", terminal.style(str(image.path), "bold", "green"))
        _row(
            terminal, "", terminal.style(f"{width} x {height} px in {image.elapsed_s:.1f} s, made by", "dim")
        )
        for line in curl_command(facts):
            terminal.line(f"    {line}")
        terminal.line()
    _row(terminal, "Portal", terminal.style(f"{environment.base_url}/", "bold"))
    _row(terminal, "", terminal.style("for customers: sign-up, playground, keys, billing, guides", "dim"))
    _row(terminal, "Console", terminal.style(f"{environment.base_url}/console/", "bold"))
    _row(terminal, "  sign in as", facts.bootstrap_email)
    password = facts.bootstrap_password
    change = f"{manage_command(environment)} changepassword {facts.bootstrap_email}"
    reset = f"set at the first start; new one: {change}"
    _row(terminal, "  password", _once(terminal, password) if password else terminal.style(reset, "dim"))
    kept = f"kept in {facts.key_file}"
    _row(terminal, "API key", _once(terminal, facts.api_key) if facts.key_is_new else kept)
    if facts.key_is_new:
        _row(terminal, "", terminal.style(kept, "dim"))
    calls = "no daily limit" if facts.calls_per_day is None else f"{facts.calls_per_day:,} calls a day"
    _row(terminal, "Plan", f"{facts.plan}: {calls}")
    _row(terminal, "Logs", str(environment.logs_dir))
    if is_running:
        _row(terminal, "Stop", f"Ctrl-C here, or: kill {os.getpid()}")
    else:
        _row(terminal, "Start again", "deploy/quickstart")
    terminal.rule()
    terminal.line()


def curl_command(facts: Facts) -> list[str]:
    """Lines of a shell command that makes the same request; a key that is not new stays in its file."""
    body = json.dumps({"key": facts.api_key if facts.key_is_new else "@KEY@", **facts.payload})
    quoted = "'" + body.replace("'", "'\\''") + "'"
    return [
        f"curl -s {facts.environment.base_url}{facts.endpoint} \\",
        "  -H 'Content-Type: application/json' \\",
        "  -d " + quoted.replace("@KEY@", f"'\"$(cat {facts.key_file})\"'"),
    ]


def manage_command(environment: Environment) -> str:
    """How `deploy/manage` is called for this home from a shell that has none of the settings."""
    is_default = environment.home == default_home({}, os.geteuid())
    return "deploy/manage" if is_default else f"DARKROOM_HOME={environment.home} deploy/manage"


def _once(terminal: Terminal, secret: str) -> str:
    return f"{terminal.style(secret, 'bold', 'yellow')}  {terminal.style('(shown this once)', 'dim')}"


def _row(terminal: Terminal, label: str, value: str) -> None:
    terminal.line(f"  {terminal.style(f'{label:<14}', 'cyan')}{value}")
