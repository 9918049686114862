"""`darkroom login`, `logout`, `keys` and `usage`: who you are to the server, and what you have used."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.text import Text

from darkroom.cli.exits import UsageError
from darkroom.cli.output import Cell, Output, age, state
from darkroom.client import Darkroom, checked_key, checked_url
from darkroom.profiles import API_KEY, DEFAULT, PROFILE, URL, Profile, forget_profile, save_profile
from darkroom.schema import Key, Usage

BAR_CELLS = 30


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:  # Any: argparse's private type
    """Everything about the caller."""
    login = commands.add_parser(
        "login",
        parents=[common],
        help="save a server and a key, once they are known to work",
        description=(
            "Save a server and a key, once they are known to work. The key is asked for, or read from stdin, "
            "so that it is in no history."
        ),
    )
    login.add_argument("server", nargs="?", metavar="URL", help="such as http://box:8000")
    login.set_defaults(run=run_login, is_offline=True)

    logout = commands.add_parser("logout", parents=[common], help="forget a server and its key")
    logout.set_defaults(run=run_logout, is_offline=True)

    usage = commands.add_parser("usage", parents=[common], help="today's calls, the queue, the days before")
    usage.set_defaults(run=run_usage)
    _add_keys(commands, common)


def _add_keys(commands: Any, common: argparse.ArgumentParser) -> None:
    keys = commands.add_parser("keys", help="list, make and revoke API keys")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", parents=[common], help="keys of your account, newest first")
    listing.set_defaults(run=run_keys)

    show = actions.add_parser("show", parents=[common], help="one key; without a name the one in use")
    show.add_argument("key", nargs="?", default="current", metavar="KEY", help="the part behind dkr_")
    show.set_defaults(run=run_show)

    create = actions.add_parser(
        "create", parents=[common], help="a new key, no stronger than yours; its text is shown once"
    )
    create.add_argument("name", help="who or what will use it")
    create.add_argument("--scope", action="append", help="what it may do; may be repeated")
    create.add_argument("--days", type=float, help="until it ends; default: when yours does")
    create.add_argument("--model", action="append", help="a model it may use; may be repeated")
    create.add_argument("--address", action="append", help="a network it works from; may be repeated")
    create.add_argument("--daily-cap", type=int, help="most calls a day")
    create.set_defaults(run=run_create)

    revoke = actions.add_parser("revoke", parents=[common], help="end a key at once")
    revoke.add_argument("key", metavar="KEY", help="the part behind dkr_")
    revoke.set_defaults(run=run_revoke)


def run_login(arguments: argparse.Namespace, output: Output) -> None:
    """Nothing is saved that the server does not know."""
    is_asked = sys.stdin.isatty()
    given = arguments.server or arguments.url or os.environ.get(URL, "")
    url = checked_url(given or _ask("Address of the server (such as http://box:8000): ", is_asked))
    key = os.environ.get(API_KEY, "") or (getpass.getpass("API key: ") if is_asked else sys.stdin.readline())
    name = arguments.profile or os.environ.get(PROFILE, "") or DEFAULT
    with Darkroom(url, checked_key(key), max_retries=1) as client:
        known = client.keys.current()
    path = save_profile(name, Profile(url, checked_key(key)))
    if output.is_json:
        output.document({"profile": name, "url": url, "key": known.raw})
        return
    output.result(f"Logged in to {url} as {known.account} with the key {known.name}; saved in {path}.")


def _ask(question: str, is_asked: bool) -> str:
    if not is_asked:
        raise UsageError("Say which server: darkroom login http://box:8000 < file-with-key")
    return input(question)


def run_logout(arguments: argparse.Namespace, output: Output) -> None:
    """The key goes on working: only this machine forgets it."""
    name = arguments.profile or os.environ.get(PROFILE, "") or DEFAULT
    was_there = forget_profile(name)
    if output.is_json:
        output.document({"profile": name, "forgotten": was_there})
    elif was_there:
        output.result(f"{name} is forgotten. The key itself still works; `darkroom keys revoke` ends one.")
    else:
        output.result(f"There was no profile {name}.")


def run_keys(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    found = client.keys.list()
    if output.is_json:
        output.document([key.raw for key in found])
        return
    rows = [
        (key.id, state(key.state), key.name + (" (in use)" if key.is_current else ""), _used(key), _may(key))
        for key in found
    ]
    output.table(("key", "state", "name", "used", "may"), rows, numbers=frozenset({"used"}))


def _used(key: Key) -> str:
    return f"{age(key.last_used_at)} ago" if key.last_used_at else "never"


def _may(key: Key) -> str:
    return " ".join(key.scopes)


def run_show(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    _tell_key(client.keys.get(_public(arguments.key)), output)


def run_create(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    end = None if arguments.days is None else datetime.now(UTC) + timedelta(days=arguments.days)
    wanted: dict[str, Any] = {
        "scopes": arguments.scope,
        "expires_at": end and end.isoformat(),
        "allowed_models": arguments.model,
        "allowed_addresses": arguments.address,
        "daily_cap": arguments.daily_cap,
    }
    issued = client.keys.create(arguments.name, **wanted)
    if output.is_json:
        output.document(issued.raw)
        return
    output.result(issued.key)
    output.note("This is the only time it is shown.", style="yellow")


def run_revoke(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    key = client.keys.revoke(_public(arguments.key))
    if output.is_json:
        output.document(key.raw)
    else:
        output.result(f"The key {key.name} ({key.id}) is revoked.")


def _public(text: str) -> str:
    """A whole key, pasted, is as good as its public part; its secret is then not sent in an address."""
    parts = text.split("_")
    return parts[1] if len(parts) > 1 and parts[0] == "dkr" else text


def _tell_key(key: Key, output: Output) -> None:
    if output.is_json:
        output.document(key.raw)
        return
    rows: dict[str, Cell] = {
        "key": key.id,
        "name": key.name,
        "account": key.account,
        "state": state(key.state),
        "may": _may(key),
        "models": ", ".join(key.allowed_models) or "all",
        "addresses": ", ".join(key.allowed_addresses) or "all",
        "daily cap": "none" if key.daily_cap is None else str(key.daily_cap),
        "ends": key.expires_at or "never",
        "used": _used(key),
    }
    output.facts(rows)


def run_usage(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    used = client.usage()
    if output.is_json:
        output.document(used.raw)
        return
    output.facts(_facts(used))
    _tell_days(used, output)


def _facts(used: Usage) -> dict[str, Cell]:
    calls, queue = used.calls, used.queue
    left = "without limit" if calls.remaining is None else f"{calls.remaining} of {calls.limit} left"
    return {
        "account": f"{used.account}, plan {used.plan}",
        "today": f"{calls.used} calls done, {calls.reserved} under way, {left}",
        "next day": f"{calls.resets_at[:16].replace('T', ' ')} UTC",
        "queue": f"{queue.open} open, " + ("any number" if queue.limit is None else f"at most {queue.limit}"),
        "images": f"at most {used.max_images} of one call",
        "kinds": ", ".join(used.kinds),
    }


def _tell_days(used: Usage, output: Output) -> None:
    """The days with calls, as bars."""
    days = [day for day in used.days if day.calls]
    most = max((day.calls for day in days), default=0)
    if days:
        output.result("")
    for day in days:
        bar = "█" * max(1, round(BAR_CELLS * day.calls / most))
        output.results.print(Text(f"{day.day}  {day.calls:>7}  ") + Text(bar, style="cyan"))
