"""`darkroom generate` and its sisters: ask for a job, show how far it is, keep what comes out."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from darkroom.cli.exits import UsageError
from darkroom.cli.facts import FACTS
from darkroom.cli.fields import DRAWING_KINDS, MEDIA_TYPES, add_options, fields_of, picture, put, reader_of
from darkroom.cli.output import Output, duration
from darkroom.cli.progress import JobProgress, shown
from darkroom.client import Darkroom
from darkroom.errors import Conflict, DarkroomError, JobFailed, NotReachable, WaitTimeout
from darkroom.jobs import checked
from darkroom.kinds import KINDS, KindRow
from darkroom.records import Job
from darkroom.saving import write_new
from darkroom.schema import Estimate, JobFields, Kind
from darkroom.sending import Flight

STDOUT: Final = "-"
TEXT_KINDS: Final[frozenset[Kind]] = frozenset({"caption", "nsfw_check"})
"""Whose result is words."""
WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "prompt": ("prompt", "what to show"),
    "image": ("image", "a file, an address, or - for what is piped in"),
    "mask": ("mask", "white is made anew"),
    "face_swap.source": ("source", "a picture of the face to put in"),
    "detect.type": ("type", "kind of map"),
    "text": ("text", "what to find"),
}
"""Of arguments in front: name and meaning."""
PAYERS: Final[Mapping[str, str]] = {
    "plan": "your plan",
    "daily_free": "your free calls of the day",
    "promo": "your credit",
    "wallet": "your wallet",
    "pay_as_you_go": "your next invoice",
}
"""Of an estimate's funding."""


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:  # Any: argparse's private type
    """A command for each kind of job."""
    for kind, row in KINDS.items():
        parser = commands.add_parser(
            row.command,
            parents=[common],
            help=row.meaning,
            description=f"{row.meaning[0].upper()}{row.meaning[1:]}.",
            usage=usage_of(row),
        )
        add_fields(parser, kind)
        if kind not in TEXT_KINDS:
            _add_output(parser)
        parser.set_defaults(run=run, kind=kind)


def usage_of(row: KindRow, before: str = "") -> str:
    """In one line: the flags are listed below it anyway."""
    words = {path: WORDS[path][0].upper() for path in row.takes}
    front = " ".join(f"[{word}]" if path in row.may_lack else word for path, word in words.items())
    return f"darkroom {before}{row.command} {front} [options]"


def add_fields(parser: argparse.ArgumentParser, kind: Kind) -> None:
    """What the kind takes in front, and its flags."""
    for path in KINDS[kind].takes:
        name, meaning = WORDS[path]
        fact = FACTS[path]
        parser.add_argument(
            f"first_{name}",
            metavar=name.upper(),
            nargs="?" if path in KINDS[kind].may_lack else None,
            type=picture if fact.kind == "picture" else reader_of(fact),
            choices=fact.choices or None,
            help=meaning + (f": {', '.join(fact.choices)}" if fact.choices else ""),
        )
    add_options(parser, kind)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        default=".",
        metavar="PLACE",
        help="a folder, a file's name, or - for stdout; nothing is ever overwritten; default: this folder",
    )
    parser.add_argument("--open", action="store_true", help="show the images with the desktop's viewer")
    parser.add_argument("--no-wait", action="store_true", help="only ask for it; print the job's number")


def asked(arguments: argparse.Namespace, client: Darkroom) -> tuple[Kind, dict[str, Any]]:
    """The kind of job and its fields, as the arguments mean them."""
    own: Kind = arguments.kind
    fields: dict[str, Any] = {}
    for path in KINDS[own].takes:
        value = getattr(arguments, f"first_{WORDS[path][0]}")
        if value is not None:
            put(fields, path, value)
    for name, value in fields_of(arguments, own).items():
        both = isinstance(value, dict) and isinstance(fields.get(name), dict)
        fields[name] = {**fields[name], **value} if both else value
    _choose_format(fields, getattr(arguments, "output", "."))
    kind = _kind_of(own, fields)
    if kind in DRAWING_KINDS and "model" not in fields:
        fields["model"] = _only_model(client)
    return kind, fields


def _kind_of(own: Kind, fields: Mapping[str, Any]) -> Kind:
    """`generate` means what its pictures say."""
    if own != "txt2img":
        return own
    if "mask" in fields and "image" not in fields:
        raise UsageError("--mask needs --image.")
    if "mask" in fields:
        return "inpaint"
    if "controls" in fields:
        return "controlnet"
    return "img2img" if "image" in fields else "txt2img"


def _choose_format(fields: dict[str, Any], output: str) -> None:
    """The name of a file says what is in it, unless --format does."""
    suffix = Path(output).suffix.lower().removeprefix(".")
    if suffix in MEDIA_TYPES and "media_type" not in fields.get("output", {}):
        put(fields, "output.media_type", MEDIA_TYPES[suffix])


def _only_model(client: Darkroom) -> str:
    """Where there is one checkpoint, it need not be named."""
    names = [model.name for model in client.models.list(limit=6, kind="checkpoint")]
    if len(names) != 1:
        some = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        told = f"there are {some}" if names else "there is none on this server"
        raise UsageError(f"Which model? Say --model NAME: {told}.")
    return names[0]


def run(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    """Raises DarkroomError; KeyboardInterrupt when Ctrl-C has canceled the job."""
    kind, fields = asked(arguments, client)
    if getattr(arguments, "output", "") == STDOUT and sys.stdout.isatty():
        raise UsageError("--output - writes the image's bytes: send them to a file or a program.")
    job = _created(client, kind, fields, output)
    if getattr(arguments, "no_wait", False):
        output.document(job.raw) if output.is_json else output.result(str(job.id))
        return
    job = wait(client, job, output, timeout=arguments.timeout)
    if kind in TEXT_KINDS:
        _tell_words(job, output)
        return
    _deliver(arguments, client, job, output)


def _created(client: Darkroom, kind: Kind, fields: Mapping[str, Any], output: Output) -> Job:
    """Ask for the job. Ctrl-C in between leaves none behind."""
    flight = Flight()
    try:
        return client.jobs.create(kind, flight=flight, **cast(JobFields, fields))
    except KeyboardInterrupt:
        try:
            job = client.jobs.landed(flight)
            told = "There is no job." if job is None else _cancel(client, job.id)
        except DarkroomError as error:
            told = f"Whether there is a job is not known: {error}"
        output.note(told, style="yellow")
        raise


def wait(client: Darkroom, job: Job, output: Output, *, timeout: float | None, is_ours: bool = True) -> Job:
    """The job at its end. Ctrl-C cancels it if it is ours."""
    if job.is_done:
        return checked(job)
    with shown(output, f"job {job.id}") as place:
        try:
            return client.jobs.wait(job.id, timeout=timeout, on_event=JobProgress(place, job.id).take)
        except KeyboardInterrupt:
            if not is_ours:
                raise
            place.tell(f"canceling job {job.id}")
            output.note(_cancel(client, job.id), style="yellow")
            raise
        except (NotReachable, WaitTimeout) as error:
            raise type(error)(
                f"{error} `darkroom jobs watch {job.id}` takes job {job.id} up again."
            ) from None


def _cancel(client: Darkroom, job_id: int) -> str:
    try:
        client.jobs.cancel(job_id)
    except Conflict as error:
        return error.detail
    except DarkroomError as error:
        return f"Job {job_id} may still run: {error}"
    return f"Job {job_id} is canceled."


def _tell_words(job: Job, output: Output) -> None:
    if output.is_json:
        output.document(job.raw)
        return
    if job.safety and job.safety.prompt:
        output.result(f"prompt: {job.safety.prompt}")
        if job.safety.reason:
            output.result(job.safety.reason)
    notes = job.result.get("notes")
    images = job.result.get("images")
    if job.caption:
        output.result(job.caption)
    for told in [notes, *(images if isinstance(images, list) else [])]:
        if isinstance(told, dict):
            for name, value in told.items():
                output.result(f"{name}: {value}")


def _deliver(arguments: argparse.Namespace, client: Darkroom, job: Job, output: Output) -> None:
    if arguments.output == STDOUT:
        _write_stdout(client, job)
        return
    files = save(client, job, arguments.output)
    if output.is_json:
        output.document({**job.raw, "files": [str(file) for file in files]})
        return
    for file, image in zip(files, job.images, strict=True):
        output.result(str(file))
        if output.is_for_people:
            output.note(f"  {image.width}×{image.height}  seed {image.seed}", style="dim")
    seconds = sum(phase.seconds for phase in job.timeline)
    output.note(f"job {job.id} done{f' in {duration(seconds)}' if seconds else ''}", style="green")
    if arguments.open:
        open_files(files, output)


def _write_stdout(client: Darkroom, job: Job) -> None:
    if len(job.images) != 1:
        raise UsageError(f"--output - is for one image; job {job.id} made {len(job.images)}.")
    sys.stdout.buffer.write(client.jobs.download(job.images[0]))
    sys.stdout.buffer.flush()


def save(client: Darkroom, job: Job, place: str) -> list[Path]:
    """Below a folder, or under the name of a file, with numbers behind it where there are several."""
    wanted = Path(place)
    if not job.images:
        raise JobFailed(job) if job.error else DarkroomError(f"Job {job.id} has no images any more.")
    try:
        if wanted.is_dir() or not wanted.suffix:
            return client.jobs.save(job, wanted)
        wanted.parent.mkdir(parents=True, exist_ok=True)
        if len(job.images) == 1:
            return [write_new(wanted, client.jobs.download(job.images[0]))]
        return client.jobs.save(job, wanted.parent, stem=wanted.stem)
    except OSError as error:
        raise DarkroomError(
            f"{error.filename or wanted} cannot be written: {error.strerror}. The job is done: "
            f"`darkroom jobs save {job.id}` fetches its images."
        ) from None


def open_files(files: Sequence[Path], output: Output) -> None:
    """With whatever the desktop opens images with."""
    opener = {"darwin": "open", "win32": "explorer"}.get(sys.platform, "xdg-open")
    for file in files:
        try:
            subprocess.Popen([opener, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError as error:
            output.note(f"{opener} cannot be started: {error.strerror}", style="yellow")
            return


def run_estimate(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    """What a job would take."""
    kind, fields = asked(arguments, client)
    made = client.estimate(kind, **cast(JobFields, fields))
    if output.is_json:
        output.document(made.raw)
        return
    output.facts(
        {
            "time": f"about {duration(made.seconds)}, the queue included",
            "calls": f"{made.calls} of the day's",
            "images": str(made.images),
            "pixels": f"{made.pixels / 1e6:.2f} million",
            # Servers of before money said nothing of it.
            **({"price": _price(made)} if made.currency else {}),
        }
    )


def _price(made: Estimate) -> str:
    """In dollars, exactly, and who pays."""
    dollars = f"${Decimal(made.price_micro) / 1_000_000:,}"
    if made.funding is None:
        return f"{dollars}, and nothing pays for it: it would be refused"
    payer = PAYERS.get(made.funding, made.funding)
    return f"{dollars}, paid by {payer}" if made.price_micro else f"nothing, paid by {payer}"
