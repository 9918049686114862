"""`darkroom jobs`: look at what was asked, follow it, end it, fetch its images again."""

from __future__ import annotations

import argparse
from typing import Any

from rich.text import Text

from darkroom.cli.making import save, wait
from darkroom.cli.output import Cell, Output, age, duration, state
from darkroom.client import Darkroom
from darkroom.records import Job


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:  # Any: argparse's private type
    """`jobs` and what it can do."""
    jobs = commands.add_parser("jobs", help="list, follow, cancel jobs, fetch their images")
    actions = jobs.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", parents=[common], help="your jobs, newest first")
    listing.add_argument(
        "--state", help="one or more of queued, running, succeeded, failed, ..., with commas"
    )
    listing.add_argument("--kind", help="one or more kinds, with commas")
    listing.add_argument("--track-id", help="your own mark")
    listing.add_argument("-n", "--limit", type=int, default=20, help="how many; 0 for all; default: 20")
    listing.set_defaults(run=run_list)

    for name, run, meaning in (
        ("show", run_show, "everything about one job"),
        ("watch", run_watch, "follow a job to its end; Ctrl-C leaves it alone"),
        ("cancel", run_cancel, "end a job that waits or runs"),
        ("delete", run_delete, "remove the images of a job that has ended"),
        ("save", run_save, "fetch the images of a job that has ended"),
    ):
        action = actions.add_parser(name, parents=[common], help=meaning, description=f"{meaning}.")
        action.add_argument("job", type=int, metavar="JOB", help="its number")
        if name == "save":
            action.add_argument(
                "-o", "--output", default=".", metavar="PLACE", help="a folder or a file's name"
            )
        action.set_defaults(run=run)


def run_list(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    filters: dict[str, Any] = {
        "state": arguments.state,
        "kind": arguments.kind,
        "track_id": arguments.track_id,
    }
    rows = client.jobs.list(limit=arguments.limit or None, **filters)
    if output.is_json:
        output.document([job.raw for job in rows])
        return
    columns = ("job", "state", "kind", "images", "age", "note")
    output.table(columns, [_line(job) for job in rows], numbers=frozenset({"job", "images", "age"}))


def _line(job: Job) -> tuple[Cell, ...]:
    mark = "" if job.track_id is None else str(job.track_id)
    told = job.error.message if job.error else mark
    return (str(job.id), state(job.state), job.kind, str(len(job.images)), age(job.queued_at), told)


def run_show(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    _tell(client.jobs.get(arguments.job), output)


def run_cancel(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    _tell_change(client.jobs.cancel(arguments.job), "is canceled", output)


def run_delete(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    job = client.jobs.delete(arguments.job)
    _tell_change(job, "is canceled" if job.state == "canceled" else "has no images any more", output)


def run_watch(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    job = wait(client, client.jobs.get(arguments.job), output, timeout=arguments.timeout, is_ours=False)
    _tell(job, output)


def run_save(arguments: argparse.Namespace, client: Darkroom, output: Output) -> None:
    job = client.jobs.get(arguments.job)
    files = save(client, job, arguments.output)
    if output.is_json:
        output.document({**job.raw, "files": [str(file) for file in files]})
        return
    for file in files:
        output.result(str(file))


def _tell_change(job: Job, words: str, output: Output) -> None:
    if output.is_json:
        output.document(job.raw)
    else:
        output.result(f"Job {job.id} {words}.")


def _tell(job: Job, output: Output) -> None:
    if output.is_json:
        output.document(job.raw)
        return
    rows: dict[str, Cell] = {"job": str(job.id), "state": state(job.state), "kind": job.kind}
    if job.error:
        rows["error"] = Text(f"{job.error.message} ({job.error.code})", style="red")
    if not job.is_done:
        rows["progress"] = (
            f"{job.progress.step} of {job.progress.total} steps, about {duration(job.eta_s)} left"
        )
    rows["asked"] = f"{age(job.queued_at)} ago"
    if job.timeline:
        rows["time"] = ", ".join(f"{phase.phase} {duration(phase.seconds)}" for phase in job.timeline)
    for name in ("checkpoint", "prompt", "negative_prompt", "seed", "steps"):
        value = job.request.get(name)
        if value not in (None, ""):
            rows[{"checkpoint": "model", "negative_prompt": "negative"}.get(name, name)] = str(value)
    if job.track_id is not None:
        rows["mark"] = str(job.track_id)
    output.facts(rows)
    for image in job.images:
        output.result(image.url)
