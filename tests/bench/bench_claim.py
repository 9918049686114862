"""How long a queued job waits for an idle, resident pump: insert -> claimed.

Regime: fake runtime, steps that take no time, one worker on the CPU, fsync on. One service call
(`submit_generation`, as the HTTP views call it) at a time in a process of its own, the next one only after
the job before has ended and a random pause of up to 50 ms, so that the pump sleeps when the job comes. The
first jobs are not counted. HTTP is excluded; `bench_sync` has it.

- from commit: from the moment `submit_generation` returned, its transaction committed and the worker told, to
  the `claimed_at` that the worker took right before its claiming statement; both are this machine's clock. 0
  where the worker was faster than the return.
- from queued_at: the same from the row's own `queued_at`, taken before the submitting transaction began.
- notify round trip: the baseline, a NOTIFY from one connection to a LISTEN on another one.
"""

from __future__ import annotations

import json
import sys

from deploy.appliance.environment import REPOSITORY
from tests.bench.reporting import Rounds, publish, read_arguments, spread
from tests.harness.appliance import Appliance, drill_folder, percentiles

TARGET_MS = 5.0


def main() -> None:
    arguments = read_arguments(__doc__, rounds=5, jobs=100)
    from_commit = Rounds("insert -> claimed, from commit, p95", "ms", f"<= {TARGET_MS:g}")
    medians = Rounds("insert -> claimed, from commit, p50", "ms")
    from_queued = Rounds("insert -> claimed, from queued_at, p95", "ms")
    baseline = Rounds("notify round trip, p95", "ms")
    every: list[float] = []
    with drill_folder() as folder, Appliance(folder) as appliance:
        for _ in range(arguments.rounds):
            script = str(REPOSITORY / "tests" / "bench" / "claim_once.py")
            found = json.loads(appliance.run_python(script, str(arguments.jobs)).splitlines()[-1])
            every += found["from_commit_ms"]
            medians.values.append(percentiles(found["from_commit_ms"], [50])[0])
            from_commit.values.append(percentiles(found["from_commit_ms"], [95])[0])
            from_queued.values.append(percentiles(found["from_queued_ms"], [95])[0])
            baseline.values.append(percentiles(found["notify_ms"], [95])[0])
        assert appliance.invariants() == []
    publish(
        "claim",
        [medians, from_commit, from_queued, baseline],
        settings={"rounds": arguments.rounds, "jobs": arguments.jobs, "fsync": True},
        details={"from_commit_ms_all_rounds": spread(every), "jobs_measured": len(every)},
        target=arguments.json,
    )


if __name__ == "__main__":
    sys.exit(main())
