"""What the scheduler does for those who wait: first steps, short requests behind long ones, shares, load.

Measured with the real engine on a tiny SD 1.5 (random weights, float32, one CPU thread), both sides in every
round, in seconds of the processor, which neighbours on the machine do not lengthen:

- ticks to first step: calls of `Engine.step()` until a new request has done a step while 15 images run.
- one behind fifteen: time of a single image that comes while 15 are under way, over its time alone; beside it
  first come, first served, in which it waits until they are done.
- p95 under load: arrivals of a Poisson process at 70 % of what one request at a time could serve, images of
  different step counts and a fifth of them with four samples. Time is that of the steps: it jumps to the next
  arrival where nothing waits. Beside it the same arrivals, one request at a time.

Simulated, with the step batcher alone, because it is about decisions and not about tensors: a device that
takes as long for 8 rows as for one, and proportionally longer beyond:

- fairness: Jain's index of the work given to 4 tenants with 1, 2, 4 and 8 requests open at any time, of 1 to
  8 images at two sizes; beside it first come, first served. 1 is equal shares, 0.25 all to one.

Loading and warm-up are excluded. Run from the repository's root:

    OMP_WAIT_POLICY=PASSIVE python -m tests.bench.bench_scheduling [--rounds 5] [--steps 16] [--side 64]
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.cost import row_tflop
from gpu_runtime.batching.step_batcher import StepBatcher
from gpu_runtime.batching.turns import UNLIMITED_ROWS, Device
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef, ImageRequest, Progress, RequestDone, Sampler
from gpu_runtime.tiny.pipelines import make_tiny
from tests.bench.reporting import Rounds, publish, read_arguments
from tests.harness.appliance import percentiles

MANY = 15
LOAD = 0.7
FREE_ROWS = 8
TENANTS = {"ada": 1, "ben": 2, "cleo": 4, "dora": 8}
"""Requests that each has open at any time."""


def main() -> None:
    options = read_arguments(str(__doc__), rounds=5, steps=16, side=64, arrivals=60, turns=4000)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_tiny("sd15", Path(scratch) / "sd15")
        checkpoint = CheckpointRef(name="sd15", family="sd15", path=str(folder), digest="sd15")
        figures = measure(Bench(checkpoint, options), options)
    figures += simulate(options)
    names = ("rounds", "steps", "side", "arrivals", "turns")
    publish(
        "scheduling",
        figures,
        settings={name: getattr(options, name) for name in names} | {"load": LOAD, "free_rows": FREE_ROWS},
        details={"torch": torch.__version__},
        target=options.json,
    )


class Bench:
    """The engine and requests for it."""

    def __init__(self, checkpoint: CheckpointRef, options: Any) -> None:
        self.engine = Engine(EngineConfig(device="cpu", dtype="float32", cpu_threads=1))
        self._checkpoint = checkpoint
        self._options = options
        self._made = 0

    def request(self, *, images: int = 1, steps: int | None = None) -> ImageRequest:
        """A new prompt and account each time."""
        self._made += 1
        side = self._options.side
        return ImageRequest(
            request_id=str(self._made),
            checkpoint=self._checkpoint,
            prompt=f"a red apple on table {self._made}",
            negative_prompt="blurry",
            width=side,
            height=side,
            output_width=side,
            output_height=side,
            steps=steps or self._options.steps,
            guidance_scale=5.0,
            seeds=tuple(range(images)),
            sampler=Sampler.EULER,
            account=str(self._made),
        )

    def finish(self, *requests: ImageRequest) -> float:
        """Submit, run until all are done, and return the seconds."""
        started = time.process_time()
        for request in requests:
            self.engine.submit(request)
        while self.engine.has_work():
            self.engine.step()
        return time.process_time() - started

    def begin_many(self) -> None:
        """Have fifteen images half done."""
        self.engine.submit(self.request(images=MANY))
        for _ in range(self._options.steps // 2):
            self.engine.step()


def measure(bench: Bench, options: Any) -> list[Rounds]:
    ticks = Rounds("ticks to first step while 15 images run", "ticks", "<= 2")
    behind = Rounds("one behind fifteen: over its time alone", "times", "<= 2.5")
    fifo = Rounds("one behind fifteen: first come, first served", "times")
    p95 = Rounds("70 % load: p95", "ms")
    plain_p95 = Rounds("70 % load: p95, one request at a time", "ms")
    gain = Rounds("70 % load: p95, one at a time over engine", "times", "> 1")
    bench.finish(bench.request(), bench.request(images=MANY))  # loads and warms up
    for number in range(options.rounds):
        bench.begin_many()
        ticks.values.append(ticks_to_first_step(bench))
        alone_s = min(bench.finish(bench.request()) for _ in range(3))
        behind.values.append(behind_fifteen_s(bench) / alone_s)
        bench.begin_many()
        remaining_s = bench.finish()
        fifo.values.append((remaining_s + bench.finish(bench.request())) / alone_s)
        arrivals = poisson_arrivals(random.Random(number), bench, options)
        plain = latencies_one_at_a_time(bench, arrivals)
        ours = latencies(bench, arrivals)
        p95.values.append(1000 * percentiles(ours, [95])[0])
        plain_p95.values.append(1000 * percentiles(plain, [95])[0])
        gain.values.append(plain_p95.values[-1] / p95.values[-1])
    bench.engine.close()
    return [ticks, behind, fifo, p95, plain_p95, gain]


def ticks_to_first_step(bench: Bench) -> float:
    """While others run; afterwards everything is done."""
    request, ticks, found = bench.request(), 0, False
    bench.engine.submit(request)
    while not found:
        ticks += 1
        found = any(
            isinstance(event, Progress) and event.request_id == request.request_id and event.step
            for event in bench.engine.step()
        )
    bench.finish()
    return float(ticks)


def behind_fifteen_s(bench: Bench) -> float:
    bench.begin_many()
    request = bench.request()
    started = time.process_time()
    bench.engine.submit(request)
    while request.request_id not in done(bench.engine.step()):
        pass
    elapsed_s = time.process_time() - started
    bench.finish()
    return elapsed_s


def done(events: Iterable[object]) -> set[str]:
    return {event.request_id for event in events if isinstance(event, RequestDone)}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request and when it comes, in seconds from the start."""

    at_s: float
    images: int
    steps: int


def poisson_arrivals(dice: random.Random, bench: Bench, options: Any) -> list[Arrival]:
    """At LOAD of the rate at which one request at a time would be served, measured just before."""
    wanted = [
        (dice.choice((1, 1, 1, 1, 4)), dice.choice((options.steps // 2, options.steps, 2 * options.steps)))
        for _ in range(options.arrivals)
    ]
    sample = wanted[: max(6, options.arrivals // 5)]
    service_s = [bench.finish(bench.request(images=images, steps=steps)) for images, steps in sample]
    mean_s = sum(service_s) / len(service_s)
    at_s, arrivals = 0.0, []
    for images, steps in wanted:
        at_s += dice.expovariate(LOAD / mean_s)
        arrivals.append(Arrival(at_s, images, steps))
    return arrivals


def latencies_one_at_a_time(bench: Bench, arrivals: Sequence[Arrival]) -> list[float]:
    free_at_s, found = 0.0, []
    for arrival in arrivals:
        service_s = bench.finish(bench.request(images=arrival.images, steps=arrival.steps))
        free_at_s = max(free_at_s, arrival.at_s) + service_s
        found.append(free_at_s - arrival.at_s)
    return found


def latencies(bench: Bench, arrivals: Sequence[Arrival]) -> list[float]:
    """Together, each submitted when the engine's own time has come to its arrival."""
    coming, now_s = deque(arrivals), 0.0
    came_at_s: dict[str, float] = {}
    found: list[float] = []
    while coming or bench.engine.has_work():
        if not bench.engine.has_work():
            now_s = max(now_s, coming[0].at_s)
        while coming and coming[0].at_s <= now_s:
            arrival = coming.popleft()
            request = bench.request(images=arrival.images, steps=arrival.steps)
            came_at_s[request.request_id] = arrival.at_s
            bench.engine.submit(request)
        started = time.process_time()
        events = bench.engine.step()
        now_s += time.process_time() - started
        found += [now_s - came_at_s[request_id] for request_id in done(events)]
    return found


def simulate(options: Any) -> list[Rounds]:
    ours = Rounds("fairness of 4 tenants, Jain", "index", ">= 0.95")
    fifo = Rounds("fairness of 4 tenants, first come, first served", "index")
    for number in range(options.rounds):
        ours.values.append(jain(given_by_batcher(Tenants(number), options.turns)))
        fifo.values.append(jain(given_in_order_of_coming(Tenants(number), options.turns)))
    return [ours, fifo]


def jain(given: Sequence[float]) -> float:
    return sum(given) ** 2 / (len(given) * sum(value * value for value in given))


@dataclass(slots=True)
class Wish:
    """One open request of a tenant."""

    name: str
    tenant: str
    key: BatchKey
    images: int
    steps: int


class Tenants:
    """Have as many requests open as TENANTS says."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._made = 0

    def first(self) -> list[Wish]:
        return [self.next(tenant) for tenant, count in TENANTS.items() for _ in range(count)]

    def next(self, tenant: str) -> Wish:
        self._made += 1
        side = self._dice.choice((512, 768))
        return Wish(
            name=str(self._made),
            tenant=tenant,
            key=BatchKey(checkpoint="c", family="sd15", width=side, height=side),
            images=self._dice.randint(1, 8),
            steps=self._dice.randint(10, 40),
        )


def given_by_batcher(tenants: Tenants, turns: int) -> list[float]:
    """TFLOP of each tenant."""
    batcher, given = StepBatcher(16), dict.fromkeys(TENANTS, 0.0)
    device = Device(
        resident=("c",),
        call_cost=lambda key, rows: row_tflop(key) * max(1.0, rows / FREE_ROWS),
        row_limit=lambda _key: UNLIMITED_ROWS,
        best_rows=lambda _key: FREE_ROWS,
    )
    wishes: dict[str, Wish] = {}
    left: dict[str, dict[int, int]] = {}

    def take(wish: Wish) -> None:
        wishes[wish.name] = wish
        left[wish.name] = dict.fromkeys(range(wish.images), wish.steps)
        batcher.add(
            wish.name,
            account=wish.tenant,
            weight=1.0,
            key=wish.key,
            images=wish.images,
            row_cost=row_tflop(wish.key),
            forward_rows=1,
        )

    for wish in tenants.first():
        take(wish)
    for _ in range(turns):
        turn = batcher.plan(device)
        assert turn is not None
        for row in turn.rows:
            wish = wishes[row.request_id]
            given[wish.tenant] += row_tflop(wish.key)
            left[wish.name][row.index] -= 1
            if not left[wish.name][row.index]:
                batcher.retire(row)
                del left[wish.name][row.index]
            if not left[wish.name]:
                batcher.remove(wish.name)
                take(tenants.next(wish.tenant))
    return list(given.values())


def given_in_order_of_coming(tenants: Tenants, turns: int) -> list[float]:
    """The same work, each request to its end before the next; a turn is FREE_ROWS row-steps."""
    given, queue = dict.fromkeys(TENANTS, 0.0), deque(tenants.first())
    while turns > 0:
        wish = queue.popleft()
        given[wish.tenant] += wish.images * wish.steps * row_tflop(wish.key)
        turns -= -(-wish.images // FREE_ROWS) * wish.steps
        queue.append(tenants.next(wish.tenant))
    return list(given.values())


if __name__ == "__main__":
    main()
