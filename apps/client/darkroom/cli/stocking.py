"""`darkroom models`: search the catalogue, bring in models, look after imports."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from darkroom.cli.output import Output, age, size, state
from darkroom.cli.progress import ImportShown, shown
from darkroom.client import Darkroom
from darkroom.records import Import, Model

WIDE = 100
"""Columns of a terminal with room for titles."""
IMPORT_FLAGS = (
    ("--name", "name", "what requests will call it; default: made from the source"),
    ("--kind", "kind", "what it must be; anything else is refused"),
    ("--family", "family", "base model it must fit"),
    ("--file", "file", "one file of a repository"),
    ("--revision", "revision", "branch, tag or commit of a repository"),
    ("--sha256", "sha256", "of the file that is fetched"),
    ("--precision", "precision", "keep, float16 or bfloat16"),
    ("--visibility", "visibility", "private, or public for operators"),
    ("--licence", "licence", "where the source does not say"),
    ("--token", "token", "credential for the source"),
)


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:  # Any: argparse's private type
    """`models` and what it can do."""
    models = commands.add_parser("models", help="search, show, import and delete models")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", parents=[common], help="models that you may use")
    listing.add_argument("search", nargs="*", help="words that must all begin a word of the model")
    listing.add_argument("--kind", help="checkpoint, lora, vae, controlnet, upscaler, ...")
    listing.add_argument("--family", help="base model, such as sdxl")
    listing.add_argument("--mine", action="store_const", const=True, help="your account's own alone")
    listing.add_argument("-n", "--limit", type=int, default=50, help="how many; 0 for all; default: 50")
    listing.set_defaults(run=run_list)

    show = actions.add_parser("show", parents=[common], help="everything about one model")
    show.add_argument("name")
    show.set_defaults(run=run_show)

    bring = actions.add_parser(
        "import",
        parents=[common],
        help="bring in a model: a file, an address, or a repository (owner/name)",
        description="Bring in a model: a file of this machine, an address, or a repository (owner/name).",
    )
    bring.add_argument("source", help="path, https://..., or owner/name")
    for flag, name, meaning in IMPORT_FLAGS:
        bring.add_argument(flag, dest=f"import_{name}", help=meaning)
    bring.add_argument("--force", action="store_const", const=True, help="replace the model of this name")
    bring.add_argument("--no-wait", action="store_true", help="only ask for it")
    bring.set_defaults(run=run_import)

    imports = actions.add_parser("imports", parents=[common], help="imports, newest first")
    imports.add_argument("-n", "--limit", type=int, default=20, help="how many; 0 for all; default: 20")
    imports.set_defaults(run=run_imports)

    for name, run, meaning in (
        ("watch", run_watch, "follow an import to its end"),
        ("cancel", run_cancel, "end an import that is under way"),
        ("retry", run_retry, "once more, from where it stopped"),
    ):
        action = actions.add_parser(name, parents=[common], help=meaning, description=f"{meaning}.")
        action.add_argument("number", type=int, metavar="IMPORT", help="its number")
        action.set_defaults(run=run)

    remove = actions.add_parser("delete", parents=[common], help="remove a model of your own")
    remove.add_argument("name")
    remove.set_defaults(run=run_delete)


def run_list(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    filters: dict[str, Any] = {
        "q": " ".join(arguments.search) or None,
        "kind": arguments.kind,
        "family": arguments.family,
        "mine": arguments.mine,
    }
    found = client.models.list(limit=arguments.limit or None, **filters)
    if output.is_json:
        output.document([model.raw for model in found])
        return
    rows = [(model.name, model.kind, model.family, size(model.size_bytes), model.title) for model in found]
    # Titles fold into many lines where there is little room, and names say as much.
    shown = 4 if output.is_for_people and output.results.width < WIDE else 5
    columns = ("name", "kind", "family", "size", "title")[:shown]
    output.table(columns, [row[:shown] for row in rows], numbers=frozenset({"size"}))


def run_show(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    model = client.models.get(arguments.name)
    if output.is_json:
        output.document(model.raw)
    else:
        output.facts(_facts(model))


def _facts(model: Model) -> dict[str, str]:
    defaults = model.raw.get("defaults")
    told = {
        "name": model.name,
        "title": model.title,
        "kind": " ".join(word for word in (model.kind, model.family, model.variant) if word),
        "size": f"{size(model.size_bytes)}, made for {model.native_px} px",
        "licence": model.licence + ("" if model.is_commercial_use_allowed else " (no commercial use)"),
        "aliases": ", ".join(map(str, model.raw.get("aliases") or ())),
        "tags": ", ".join(model.tags),
        "trigger words": ", ".join(model.trigger_words),
        "visibility": model.visibility + (", switched off" if not model.is_enabled else ""),
        "defaults": ", ".join(
            f"{name} {value}" for name, value in defaults.items() if value not in ("", None)
        )
        if isinstance(defaults, dict)
        else "",
        "added": f"{age(model.created_at)} ago",
        "description": str(model.raw.get("description") or ""),
    }
    return {name: text for name, text in told.items() if text.strip()}


def run_import(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    wanted: dict[str, Any] = {name: getattr(arguments, f"import_{name}") for _, name, _ in IMPORT_FLAGS}
    wanted["force"] = arguments.force
    source = Path(arguments.source) if Path(arguments.source).is_file() else arguments.source
    with shown(output, "asking") as place:
        begun = client.imports.start(source, on_upload=ImportShown(place, 0).sent, **wanted)
        if not arguments.no_wait:
            begun = client.imports.wait(
                begun.id, timeout=arguments.timeout, on_event=ImportShown(place, begun.id).take
            )
    if output.is_json:
        output.document(begun.raw)
    else:
        output.result(begun.model or str(begun.id))


def run_watch(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    with shown(output, f"import {arguments.number}") as place:
        ended = client.imports.wait(
            arguments.number, timeout=arguments.timeout, on_event=ImportShown(place, arguments.number).take
        )
    if output.is_json:
        output.document(ended.raw)
    else:
        output.result(ended.model or str(ended.id))


def run_imports(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    found = client.imports.list(limit=arguments.limit or None)
    if output.is_json:
        output.document([each.raw for each in found])
        return
    rows = [
        (str(each.id), state(each.state), _percent(each), age(each.created_at), _about(each))
        for each in found
    ]
    output.table(
        ("import", "state", "done", "age", "model"), rows, numbers=frozenset({"import", "done", "age"})
    )


def _percent(each: Import) -> str:
    return "" if each.progress.percent is None else f"{each.progress.percent:.0f} %"


def _about(each: Import) -> str:
    return each.error.message if each.error else each.model or each.address


def run_cancel(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    _tell(client.imports.cancel(arguments.number), "is being canceled", output)


def run_retry(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    _tell(client.imports.retry(arguments.number), "begins again", output)


def _tell(changed: Import, words: str, output: Output) -> None:
    if output.is_json:
        output.document(changed.raw)
    else:
        output.result(f"Import {changed.id} {words}.")


def run_delete(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    client.models.delete(arguments.name)
    if output.is_json:
        output.document({"name": arguments.name, "deleted": True})
    else:
        output.result(f"{arguments.name} is deleted.")
