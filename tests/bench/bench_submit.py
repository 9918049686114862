"""How many requests a minute the submit path accepts: HTTP -> validated, reserved, committed, answered.

Regime: the real web processes (gunicorn as shipped) and the real worker with the fake runtime, whose steps
take no time; fsync on; `instant_response`, 32 keep-alive connections, each sending the next request when it
has its answer. Everything shares this machine's cores, the client too: it runs in a process of its own and
its processor time is reported, so that what the server would do with a client elsewhere can be estimated.
The worker ends the accepted jobs meanwhile, on the same cores. A warm-up round is not counted.

- one account: all connections use one key, so its quota row orders them.
- an account each: every connection has a key of its own.
- empty view: the baseline, `/healthz` over the same 32 connections: Django, middleware and gunicorn alone.
- submit alone: `submit_generation` in a loop of one process, without HTTP.
- bare insert: the ORM inserting an audit event a transaction in a loop of one process.
- processor ms per request: what each part used from the first request to the end of the last job, worker
  included; unlike the rates, it says something on a busy machine, too.
- finished: jobs brought to their end a minute, from the first request of a round to the end of its last job.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import psutil

from deploy.appliance.environment import REPOSITORY
from tests.bench.driving import Found, generate_text, get_text, hammer, processor_seconds, wait_until_idle
from tests.bench.reporting import Rounds, publish, read_arguments, spread
from tests.harness.appliance import Appliance, drill_folder

CONNECTIONS = 32
TARGET = ">= 6000"


def main() -> None:
    arguments = read_arguments(__doc__, rounds=3, seconds=8)
    one = Rounds("submit, one account", "/min", TARGET)
    many = Rounds("submit, an account each", "/min", TARGET)
    empty = Rounds("empty view (baseline)", "/min")
    alone = Rounds("submit alone, no HTTP, one process (baseline)", "/min")
    bare = Rounds("bare insert, one process (baseline)", "/min")
    finished = Rounds("finished, an account each", "/min")
    latencies: dict[str, list[float]] = {one.name: [], many.name: []}
    cost_ms: dict[str, list[float]] = {}
    with drill_folder() as folder, Appliance(folder, accounts=CONNECTIONS) as appliance:
        requests = [generate_text(key, steps=1, is_instant=True) for key in appliance.keys]
        hammer(appliance.port, requests, seconds=2)
        wait_until_idle(appliance)
        for _ in range(arguments.rounds):
            empty.values.append(
                hammer(appliance.port, [get_text("/healthz")] * CONNECTIONS, seconds=3).per_minute
            )
            for rounds, texts in ((one, requests[:1] * CONNECTIONS), (many, requests)):
                started = time.monotonic()
                before = processor_seconds(appliance)
                found = hammer(appliance.port, texts, seconds=arguments.seconds)
                require_accepted(found)
                wait_until_idle(appliance)
                rounds.values.append(found.per_minute)
                latencies[rounds.name] += found.durations_ms
                after = processor_seconds(appliance) | {"client": found.client_cpu_s}
                for part, used in after.items():
                    used_ms = (used - before.get(part, 0.0)) * 1000
                    cost_ms.setdefault(part, []).append(used_ms / found.statuses["200"])
            finished.values.append(found.statuses["200"] / (time.monotonic() - started) * 60)
            rates = json.loads(
                appliance.run_python(str(REPOSITORY / "tests" / "bench" / "submit_alone.py")).splitlines()[-1]
            )
            wait_until_idle(appliance)
            alone.values.append(rates["submit_per_minute"])
            bare.values.append(rates["insert_per_minute"])
        assert appliance.invariants() == []
    publish(
        "submit",
        [one, many, finished, empty, alone, bare],
        settings={"connections": CONNECTIONS, "rounds": arguments.rounds, "seconds": arguments.seconds},
        details={
            "answer_ms": {name: spread(values) for name, values in latencies.items()},
            "processor_ms_per_request": {
                part: round(statistics.median(values), 2) for part, values in cost_ms.items()
            },
            "memory_available_gib": round(psutil.virtual_memory().available / 2**30, 1),
        },
        target=arguments.json,
    )


def require_accepted(found: Found) -> None:
    """A rate of refusals would be no rate."""
    assert set(found.statuses) == {"200"}, found.statuses


if __name__ == "__main__":
    sys.exit(main())
