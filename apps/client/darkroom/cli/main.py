"""The `darkroom` command. Whatever happens ends in a sentence and an exit code, never in a traceback."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

from darkroom.cli import accounting, completion, making, managing, stocking
from darkroom.cli.exits import FAILED, INTERRUPTED, MEANINGS, OK, UsageError, exit_code
from darkroom.cli.output import Output
from darkroom.client import Darkroom
from darkroom.errors import DarkroomError
from darkroom.kinds import KINDS
from darkroom.version import VERSION

DEBUG: Final = "DARKROOM_DEBUG_CLIENT"
DESCRIPTION: Final = """\
Make images on a Darkroom server.

  darkroom login http://box:8000             once: saves address and key
  darkroom generate "a red fox" -o fox.png   with a progress bar
  darkroom upscale fox.png --factor 4        saves darkroom-JOB.png here
  darkroom generate "a fox" -o - | convert - fox.gif
"""


def make_parser() -> argparse.ArgumentParser:
    """Every command and flag."""
    exits = "\n".join(f"  {code:<4} {meaning}" for code, meaning in MEANINGS.items())
    parser = Parser(
        prog="darkroom",
        description=DESCRIPTION,
        epilog=(
            f"exit codes:\n{exits}\n\nenvironment:\n"
            "  DARKROOM_URL, DARKROOM_API_KEY   instead of what `darkroom login` saved\n"
            "  DARKROOM_PROFILE                 which of several saved servers\n"
            "  HTTPS_PROXY, SSL_CERT_FILE       how to get there\n"
            "  NO_COLOR                         no colours"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"darkroom {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = make_common()
    making.add_commands(commands, common)
    _add_estimate(commands, common)
    for module in (managing, stocking, accounting, completion):
        module.add_commands(commands, common)
    parser.set_defaults(root=parser, is_offline=False)
    return parser


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses like everything else here: one sentence, no list of all flags."""

    def __init__(self, **options: Any) -> None:  # Any: argparse's own
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}. See `{self.prog} --help`.")


def make_common() -> argparse.ArgumentParser:
    """What every command understands."""
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("for every command")
    group.add_argument("--profile", default="", metavar="NAME", help="which of several saved servers")
    group.add_argument("--url", default="", help="another server, with DARKROOM_API_KEY")
    group.add_argument("--json", action="store_true", help="one JSON document on stdout, for scripts")
    group.add_argument("-q", "--quiet", action="store_true", help="results alone")
    group.add_argument("--timeout", type=float, metavar="S", help="longest wait for a job to end")
    return common


def _add_estimate(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:  # type: ignore[type-arg]
    parser = commands.add_parser("estimate", help="what a job would take and cost")
    kinds = parser.add_subparsers(dest="estimated", required=True, metavar="KIND")
    for kind, row in KINDS.items():
        each = kinds.add_parser(
            row.command, parents=[common], help=row.meaning, usage=making.usage_of(row, "estimate ")
        )
        making.add_fields(each, kind)
        each.set_defaults(run=making.run_estimate, kind=kind)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    words = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a letter is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    # Known before the arguments are read: a script wants to be told of a wrong one as JSON, too.
    output = Output(is_json="--json" in words)
    try:
        with _termination_interrupts():
            arguments = make_parser().parse_args(words)
            output.is_quiet = getattr(arguments, "quiet", False)
            _run(arguments, output)
    except DarkroomError as error:
        output.error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        # The shell's own line has ^C at its end.
        output.note("")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has had enough; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        output.error(DarkroomError(f"{error.filename or 'this machine'}: {error.strerror or error}"))
        return FAILED
    except Exception as error:
        # The edge of the process: a fault of ours is a sentence, too.
        if os.environ.get(DEBUG):
            raise
        told = f"a fault of this program: {type(error).__name__}: {error}. {DEBUG}=1 shows where."
        output.error(DarkroomError(told))
        return FAILED
    return OK


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM does inside the block what Ctrl-C does: `timeout 60 darkroom generate` leaves no job behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may say what signals do.
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: argparse.Namespace, output: Output) -> None:
    if arguments.is_offline:
        arguments.run(arguments, output)
        return
    with Darkroom(arguments.url, profile=arguments.profile) as client:
        arguments.run(arguments, client, output)
