"""What the appliance adds to a synchronous request beyond the runtime's own time.

Regime: real HTTP through gunicorn as shipped, fake runtime with 10 steps of 10 ms, 64x64 pixels, one worker,
keep-alive connections from a client in a process of its own on the same cores. The runtime's own time is what
the engine reports for that very job (`timings.total_s`); added = the client's duration less that.

- one by one: one connection; eight at once: eight connections, each with the next request after its answer.
- on disk: folder and database on this machine's disk, fsync on, as shipped. In memory: both on /dev/shm,
  where fsync costs nothing: the difference is the disk's, and a synchronous request waits for several of its
  fsyncs (submit, claim, image file and its folders, finish).
- baseline: `/healthz` over one connection.
"""

from __future__ import annotations

import sys

from tests.bench.driving import Found, generate_text, get_text, hammer, wait_until_idle
from tests.bench.reporting import Rounds, publish, read_arguments, spread
from tests.harness.appliance import Appliance, drill_folder, percentiles

STEPS = 10
STEP_MS = 10.0
TARGET = "<= 20"
PLACES: dict[str, str | None] = {"on disk": None, "in memory": "/dev/shm"}


def main() -> None:
    arguments = read_arguments(__doc__, rounds=3, seconds=6)
    figures: list[Rounds] = []
    every: dict[str, list[float]] = {}
    parts: dict[str, dict[str, float]] = {}
    for place, parent in PLACES.items():
        with drill_folder(parent=parent) as folder, Appliance(folder, step_ms=STEP_MS) as appliance:
            request = generate_text(appliance.keys[0], steps=STEPS, is_instant=False)
            hammer(appliance.port, [request] * 8, seconds=2)
            empty = Rounds(f"baseline /healthz, {place}, p50", "ms")
            for _ in range(arguments.rounds):
                found = hammer(appliance.port, [get_text("/healthz")], seconds=1)
                empty.values.append(percentiles(found.durations_ms, [50])[0])
            figures.append(empty)
            for name, connections in (("one by one", 1), ("eight at once", 8)):
                figure = Rounds(f"added, {name}, {place}, p50", "ms", TARGET)
                figures.append(figure)
                for _ in range(arguments.rounds):
                    found = hammer(appliance.port, [request] * connections, seconds=arguments.seconds)
                    wait_until_idle(appliance)
                    added = added_ms(appliance, found)
                    figure.values.append(percentiles(added, [50])[0])
                    every.setdefault(figure.name, []).extend(added)
                    parts[f"{name}, {place}"] = medians_ms(appliance, found)
            assert appliance.invariants() == []
    publish(
        "sync",
        figures,
        settings={
            "steps": STEPS,
            "step_ms": STEP_MS,
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
        },
        details={
            "added_ms_all_rounds": {name: spread(values) for name, values in every.items()},
            "parts_ms_p50_last_round": parts,
        },
        target=arguments.json,
    )


def added_ms(appliance: Appliance, found: Found) -> list[float]:
    """Milliseconds beyond the runtime's own, for every answer. Each must be a finished job's."""
    own_ms = dict(
        appliance.query(
            "SELECT id, (timings->>'total_s')::float * 1000 FROM generation_generationjob"
            " WHERE id = ANY(%s) AND state = 'succeeded'",
            [found.jobs],
        )
    )
    return [
        duration - own_ms[job_id] for duration, job_id in zip(found.durations_ms, found.jobs, strict=True)
    ]


def medians_ms(appliance: Appliance, found: Found) -> dict[str, float]:
    """Where the time of a request goes, by the rows' own times, which are taken before their transactions."""
    rows = {
        row[0]: row[1:]
        for row in appliance.query(
            "SELECT id, extract(epoch FROM queued_at)::float8, extract(epoch FROM claimed_at)::float8,"
            " extract(epoch FROM finished_at)::float8, (timings->>'total_s')::float8"
            " FROM generation_generationjob WHERE id = ANY(%s)",
            [found.jobs],
        )
    }
    parts: dict[str, list[float]] = {}
    for sent_s, duration_ms, job_id in zip(found.sent_at_s, found.durations_ms, found.jobs, strict=True):
        queued_s, claimed_s, finished_s, engine_s = rows[job_id]
        seconds = {
            "sent to queued": queued_s - sent_s,
            "queued to claimed": claimed_s - queued_s,
            "engine": engine_s,
            "claimed to finished, less engine": finished_s - claimed_s - engine_s,
            "finished to answered": sent_s + duration_ms / 1000 - finished_s,
        }
        for name, value in seconds.items():
            parts.setdefault(name, []).append(value * 1000)
    return {name: round(percentiles(values, [50])[0], 2) for name, values in parts.items()}


if __name__ == "__main__":
    sys.exit(main())
