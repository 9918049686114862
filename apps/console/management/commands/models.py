"""`manage.py models`: bring models in, look at imports, check what is stored."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.catalog.choices import ImportState, Kind, Visibility
from apps.catalog.imports.addresses import read_source
from apps.catalog.imports.options import PRECISIONS, ImportOptions
from apps.catalog.imports.selectors import access_import, list_imports
from apps.catalog.imports.services import cancel_import, retry_import, submit_import
from apps.catalog.models import CatalogEntry, ModelImport
from apps.console.import_follow import follow_import
from apps.console.terminal import TERMINAL, account_by_slug, refusals_as_command_errors
from apps.core import clock
from gpu_runtime.weights.family_facts import FAMILY_FACTS
from gpu_runtime.weights.identification.cut_outs import NEEDED
from gpu_runtime.weights.store import Store

SHOWN = 20
TINY_OPTIONS = ("seed", "format", "kind", "lora-format", "name")
# Relative folders are meant from where the operator stands, so the module is found by its path.
RUN_TINY = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1));"
    " runpy.run_module('gpu_runtime.tiny', run_name='__main__', alter_sys=True)"
)


class Command(BaseCommand):
    help = "Imports models, lists them and their imports, verifies their files, builds tiny ones."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        _add_import(commands.add_parser("import", help="bring a model in"))
        imports = commands.add_parser("imports", help="recent imports and how far they are")
        imports.add_argument("--open", action="store_true", help="only those that wait or run")
        listing = commands.add_parser("list", help="models of the catalogue")
        listing.add_argument("--kind", choices=Kind.values)
        listing.add_argument("--family", choices=sorted(FAMILY_FACTS))
        listing.add_argument("words", nargs="*", help="parts of names or titles")
        cancel = commands.add_parser("cancel", help="end an import; nothing of it stays")
        cancel.add_argument("id", type=int)
        retry = commands.add_parser("retry", help="go on with a failed or canceled import")
        retry.add_argument("id", type=int)
        _add_running(retry)
        verify = commands.add_parser("verify", help="compare stored weights with their digests")
        verify.add_argument("names", nargs="*", help="models; default: all")
        tiny = commands.add_parser(
            "make-tiny", help="build a tiny model with random weights, for tests and demos"
        )
        tiny.add_argument("family", nargs="?", help="see --list")
        tiny.add_argument("folder", nargs="?", type=Path, help="default: tiny-FAMILY where you are")
        tiny.add_argument("--list", action="store_true", help="what can be built")
        for option in TINY_OPTIONS:
            tiny.add_argument(f"--{option}", help="as of python -m gpu_runtime.tiny")

    def handle(self, *args: Any, **options: Any) -> None:
        command = options["command"].replace("-", "_")
        with refusals_as_command_errors():
            getattr(self, f"do_{command}")(options)

    def do_import(self, given: dict[str, Any]) -> None:
        owner = account_by_slug(given["private_to"]) if given["private_to"] else None
        options = _options(given)
        row = submit_import(options=options, account=owner, actor=TERMINAL, now=clock.now())
        self._follow(row, given)

    def do_retry(self, given: dict[str, Any]) -> None:
        row = access_import(account=None, import_id=given["id"])
        again = retry_import(model_import=row, token=_token(given), actor=TERMINAL, now=clock.now())
        self._follow(again, given)

    def _follow(self, row: ModelImport, given: dict[str, Any]) -> None:
        if not given["wait"]:
            self.stdout.write(f"import {row.pk} is queued; manage.py models imports shows how far it is")
            return
        ended = follow_import(row, is_here=given["here"])
        if ended.state == ImportState.SUCCEEDED:
            entry = ended.entry
            assert entry is not None  # a succeeded import has one, unless it was deleted this very moment
            size = f"{entry.size_bytes / 1e6:,.1f} MB"
            self.stdout.write(f"{entry.name} is ready: {entry.kind} {entry.family}, {size}")
        elif ended.state == ImportState.CANCELED:
            raise CommandError(f"import {ended.pk} was canceled; nothing of it is left")
        else:
            raise CommandError(
                f"{ended.error_message} ({ended.error_code}; to go on: manage.py models retry {ended.pk})"
            )

    def do_imports(self, given: dict[str, Any]) -> None:
        found = list_imports(None)
        if given["open"]:
            found = found.filter(state__in=(ImportState.QUEUED, ImportState.RUNNING))
        for row in found[:SHOWN]:
            done = f"{100 * row.bytes_done // row.bytes_total} %" if row.bytes_total else ""
            state = f"{row.state} {row.phase} {done}".strip() if row.state == "running" else str(row.state)
            name = row.requested_name or row.address
            self.stdout.write(f"{row.pk:>6}  {state:<28} {name:<40} {row.error_message}".rstrip())

    def do_list(self, given: dict[str, Any]) -> None:
        entries = CatalogEntry.objects.live().order_by("kind", "name")
        if given["kind"]:
            entries = entries.filter(kind=given["kind"])
        if given["family"]:
            entries = entries.filter(family=given["family"])
        for entry in entries.iterator():
            text = f"{entry.name} {entry.title}".lower()
            if all(word.lower() in text for word in given["words"]):
                marks = "" if entry.is_enabled else " (disabled)"
                size = f"{entry.size_bytes / 1e6:,.1f} MB"
                what = f"{entry.kind:<12} {entry.family:<12} {size:>14}"
                self.stdout.write(f"{entry.name:<40} {what} {entry.visibility}{marks}")

    def do_cancel(self, given: dict[str, Any]) -> None:
        row = access_import(account=None, import_id=given["id"])
        canceled = cancel_import(model_import=row, actor=TERMINAL, now=clock.now())
        self.stdout.write(f"import {row.pk}: {'canceled' if canceled.is_terminal else 'stopping'}")

    def do_verify(self, given: dict[str, Any]) -> None:
        """Reads all of every file: as long as the disk takes."""
        entries = CatalogEntry.objects.live().order_by("name")
        if given["names"]:
            entries = entries.filter(name__in=given["names"])
            unknown = sorted(set(given["names"]) - set(entries.values_list("name", flat=True)))
            if unknown:
                raise CommandError(f"there is no model {unknown[0]!r}")
        store = Store(Path(settings.MODEL_DIR))
        broken = 0
        for entry in entries:
            is_ours = Path(entry.path).parent in (store.checkpoints, store.components)
            problems = store.verify(entry.digest) if is_ours else []
            if not Path(entry.path).is_dir():
                problems = [f"{entry.path} is not there"]
            broken += bool(problems)
            verdict = "damaged" if problems else "ok" if is_ours else "not in the store, left alone"
            self.stdout.write(f"{entry.name}: {verdict}")
            for problem in problems:
                self.stdout.write(f"  {problem}")
        if broken:
            raise CommandError(f"{broken} models are damaged: remove those folders, then import again")

    def do_make_tiny(self, given: dict[str, Any]) -> None:
        """In a process of its own: this one never loads torch."""
        argv = [sys.executable, "-c", RUN_TINY, str(settings.REPOSITORY_ROOT)]
        if given["list"] or not given["family"]:
            argv.append("--list")
        else:
            argv += [given["family"], str(given["folder"] or f"tiny-{given['family']}")]
        for option in TINY_OPTIONS:
            value = given[option.replace("-", "_")]
            argv += [f"--{option}", value] if value else []
        if subprocess.run(argv, check=False).returncode:
            raise CommandError("nothing was built")


def _add_import(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source", help="organisation/name[/file] of the hub, a URL, or a file or folder on this machine"
    )
    parser.add_argument("--name", default="", help="what clients send as model_id; default: from the source")
    parser.add_argument("--alias", action="append", default=[], help="another name; repeatable")
    parser.add_argument("--title", default="")
    parser.add_argument("--description", default="")
    parser.add_argument("--kind", default="", choices=Kind.values, help="refuse anything else")
    parser.add_argument(
        "--family",
        default="",
        choices=sorted(FAMILY_FACTS),
        metavar="FAMILY",
        help="refuse models of any other; for kinds without a family of their own, theirs",
    )
    parser.add_argument("--revision", default="", help="branch, tag or commit of a repository")
    parser.add_argument("--file", default="", help="one file of a repository")
    parser.add_argument("--files", action="append", default=[], help="pattern of files to take; repeatable")
    parser.add_argument("--sha256", default="", help="of the one file that is fetched")
    parser.add_argument("--precision", default="keep", choices=PRECISIONS)
    parser.add_argument("--private-to", help="slug of the only account that may use it")
    parser.add_argument("--licence", default="", help="default: what the source says")
    parser.add_argument("--commercial-use", action="store_true", default=None)
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("--trigger-word", action="append", default=[])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--sampler")
    parser.add_argument("--negative-prompt")
    parser.add_argument("--input-px", type=int, help="side of a cut-out network's pictures")
    for name in ("--mean", "--std"):
        parser.add_argument(
            name, type=float, nargs=3, metavar=("R", "G", "B"), help="of a cut-out network's colours, 0 to 1"
        )
    parser.add_argument("--force", action="store_true", help="replace the weights of the model of this name")
    _add_running(parser)


def _add_running(parser: ArgumentParser) -> None:
    parser.add_argument("--token-file", type=Path, help="file with the source's token")
    parser.add_argument("--token", default="", help="the same in plain; others on this machine can see it")
    parser.add_argument("--no-wait", dest="wait", action="store_false", help="only queue it")
    parser.add_argument(
        "--here", action="store_true", help="run it in this process at once, whoever else might take it"
    )


def _options(given: dict[str, Any]) -> ImportOptions:
    options = read_source(given["source"])
    names = ("steps", "guidance_scale", "sampler", "negative_prompt")
    return replace(
        options,
        name=given["name"],
        aliases=tuple(given["alias"]),
        title=given["title"],
        description=given["description"],
        kind_hint=given["kind"],
        family_hint=given["family"],
        revision=given["revision"] or options.revision,
        file=given["file"] or options.file,
        file_patterns=tuple(given["files"]),
        expected_sha256=given["sha256"],
        precision=given["precision"],
        visibility=Visibility.PRIVATE if given["private_to"] else Visibility.PUBLIC,
        licence=given["licence"],
        is_commercial_use_allowed=given["commercial_use"],
        tags=tuple(given["tag"]),
        trigger_words=tuple(given["trigger_word"]),
        defaults={name: given[name] for name in names if given[name] is not None},
        details={name: given[name] for name in NEEDED if given[name] is not None},
        token=_token(given),
        uses_server_tokens=True,
        force=given["force"],
    )


def _token(given: dict[str, Any]) -> str:
    if given["token_file"] is None:
        return str(given["token"])
    try:
        text: str = given["token_file"].read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandError(f"{given['token_file']}: {error.strerror}") from None
    return text
