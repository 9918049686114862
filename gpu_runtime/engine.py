"""The engine: many requests, one denoiser call at a time.

One `step()` is either a turn of steps or a decode of finished latents; the two alternate while there is both.
A turn is: plan who shares the call, load, encode and begin what is new, gather the rows, one denoiser call,
guidance, one sampler step for each row, retire what is done. Rows of a turn may be at different steps, with
different prompts, seeds, guidance, samplers and step counts. A retired image goes on to its request's next
pass (refiner, larger size) or is decoded.

    register.py       which requests are held and where each of their images is
    step_turns.py     one turn: beginning.py, calls.py, denoising.py, the families
    decode_turns.py   one decode: finishing.py, decoding.py

Faults stay with the request that caused them wherever the cause can be told: prompts, samplers and decoding
by themselves, NaN by row, lack of memory by halving the call down to the row that does not fit, and anything
else by repeating the call for each request alone. Only DeviceLost leaves `step()`.

Single-threaded: call every method from one thread. Knows nothing about jobs, accounts' plans or HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from gpu_runtime.batching.admission import Rejected, admit
from gpu_runtime.batching.limits import Limits
from gpu_runtime.batching.pass_rules import require_between
from gpu_runtime.batching.queue_forecast import forecast
from gpu_runtime.batching.step_batcher import StepBatcher
from gpu_runtime.beginning import Beginner
from gpu_runtime.calls import DenoiserCalls
from gpu_runtime.config import EngineConfig
from gpu_runtime.decode_turns import DecodeTurns
from gpu_runtime.devices import choose_device
from gpu_runtime.errors import RuntimeFault, UnsupportedCombination
from gpu_runtime.estimates import Estimates
from gpu_runtime.families.registry import FAMILIES, LoadFamily
from gpu_runtime.feature_cache.memory import FeatureMemory
from gpu_runtime.finishing import Finisher
from gpu_runtime.forecast import demands, expected_step_s
from gpu_runtime.images import Pixels
from gpu_runtime.learned import LearnedTimes, MeasuredOn
from gpu_runtime.messages import CheckpointRef, EngineInfo, Event, Forecast, ImageRequest, OnPixels
from gpu_runtime.previews import Previews
from gpu_runtime.register import ObserveLatents, Register
from gpu_runtime.samplers import MAX_STEPS
from gpu_runtime.step_turns import StepTurns
from gpu_runtime.telemetry import TickLog, TickReport
from gpu_runtime.weights.assembly import GENERIC, open_residency
from gpu_runtime.weights.budget import ActivationPeaks
from gpu_runtime.weights.device_memory import PeakMeter
from gpu_runtime.weights.side_by_side import SideBySide
from gpu_runtime.weights.spare import Spare
from gpu_runtime.weights.warming import Warming

SHARE_OF_ONE_REQUEST = 4
"""A request counts for at most max_rows / 4 in `free_rows`: its further rows give way to others."""


class Engine:
    """Implements `messages.ImageEngine` with torch."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        families: Mapping[str, LoadFamily] = FAMILIES,
        observe_latents: ObserveLatents | None = None,
        beside: Sequence[Spare] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`beside` is what else lies on the device and can be given up, such as weights of operations.

        Raises UnsupportedCombination when the configured device is not available.
        """
        self._config = config
        self._clock = clock
        self._plan = choose_device(config)
        known_families = None if GENERIC in families else frozenset(families)
        self._limits = Limits(families=known_families, max_steps=MAX_STEPS)
        self._batcher = StepBatcher(config.max_rows)
        self._finisher = Finisher()
        self._previews = Previews()
        self._register = Register(self._batcher, self._finisher, self._previews, observe_latents)
        self._held = self._register.held
        peaks, features = ActivationPeaks(), FeatureMemory(self._register.rows)
        self._residency = open_residency(
            config,
            self._plan,
            families=families,
            peaks=peaks,
            wanted=self._register.weights,
            features=features,
            beside=beside,
            clock=clock,
        )
        self._warming = Warming(self._residency, clock)
        self._estimates = Estimates(self._plan.device.type)
        self._learned = self._open_learned()
        self._ticks = TickLog()
        meter = PeakMeter(self._plan.device, peaks, clock)
        self._calls = DenoiserCalls(
            self._residency,
            self._estimates,
            meter,
            exact_rows=config.exact_rows,
            reuse_threshold=config.reuse_threshold,
        )
        self._step_turns = StepTurns(
            register=self._register,
            batcher=self._batcher,
            residency=self._residency,
            side_by_side=SideBySide(self._residency, self._plan.dtype),
            estimates=self._estimates,
            calls=self._calls,
            beginner=Beginner(self._residency, self._estimates, self._ticks),
            previews=self._previews,
            features=features,
            ticks=self._ticks,
        )
        self._decode_turns = DecodeTurns(
            register=self._register,
            finisher=self._finisher,
            residency=self._residency,
            estimates=self._estimates,
            meter=meter,
            ticks=self._ticks,
        )
        self._decoded_last = False
        self._is_draining = False

    def submit(
        self, request: ImageRequest, *, on_pixels: OnPixels | None = None, on_between: OnPixels | None = None
    ) -> None:
        """Take a request. Raises RuntimeFault when it can never run, or when the engine drains.

        With `on_pixels` each image is handed to it, unencoded, in place of an ImageDone; `on_between` is
        handed those of a first pass that `resume` brings back.
        """
        if self._is_draining:
            raise RuntimeFault("the engine is draining and takes no new request")
        if request.request_id in self._held:
            raise UnsupportedCombination(f"request {request.request_id!r} is already held")
        self.require_admissible(request)
        require_between(request, on_between)
        self._register.add(request, on_pixels, on_between)

    def resume(self, request_id: str, index: int, pixels: Pixels) -> None:
        """Go on with an image that `on_between` was handed, uint8 [H, W, 3] at the size of its second pass.

        An unknown request is ignored. Raises UnsupportedCombination for another size.
        """
        self._register.resume(request_id, index, pixels)

    def require_admissible(self, request: ImageRequest) -> None:
        """Raise UnsupportedCombination when the request can never run; its pictures are not looked at."""
        decision = admit(request, self._limits)
        if isinstance(decision, Rejected):
            raise UnsupportedCombination(decision.reason)

    def step(self) -> list[Event]:
        """Run one turn of steps or one decode, and return what happened since the last call.

        With neither to do, warms one checkpoint. Unloads what has been idle for too long either way.

        Raises DeviceLost when only a new process helps.
        """
        if not self.has_work():
            return []
        with torch.inference_mode():
            self._work()
            self._collect()
        self._residency.unload_idle()
        if self._learned:
            self._learned.save_if_due(self._clock())
        if self._config.check_invariants:
            self.check_invariants()
        return self._register.take_events()

    def cancel(self, request_id: str) -> None:
        """Stop a request before the next step. An unknown id is ignored."""
        self._register.cancel(request_id)

    def drain(self) -> None:
        """Take no further request and warm nothing more; requests held go on to their end."""
        self._is_draining = True
        self._warming.clear()
        if self._learned:
            self._learned.save()

    def close(self) -> None:
        """Stop the threads and drop what is held. The engine cannot be used afterwards."""
        for request_id in list(self._held):
            self._register.forget(request_id)
        self._finisher.close()
        self._previews.close()

    def has_work(self) -> bool:
        """Whether a request has not had its final event, or a checkpoint is to be warmed or unloaded."""
        is_busy = bool(self._held or self._register.events or self._warming)
        return is_busy or self._residency.is_unload_due()

    def free_rows(self) -> int:
        """How many more images to claim; many-image requests count in part, since their rows give way."""
        if self._is_draining or any(held.request.is_isolated for held in self._held.values()):
            return 0
        share = max(1, self._config.max_rows // SHARE_OF_ONE_REQUEST)
        taken = sum(min(share, len(rows)) for rows in self._batcher.rows().values())
        # Images of few steps come faster than they are decoded, or than a busy processor makes files of them.
        overdue = max(0, len(self._finisher.rows()) - self._config.max_rows)
        return max(0, self._config.max_rows - taken - overdue)

    def expected_step_s(self) -> float:
        """Upper estimate of the next `step()` in seconds, whichever kind it is; 0 without work."""
        return expected_step_s(
            self._estimates,
            waiting=self._batcher.keys(),
            finisher=self._finisher,
            held=self._held.values(),
            resident=self._residency.digests(),
            max_rows=self._config.max_rows,
            is_warming=bool(self._warming),
        )

    def forecast(self) -> list[Forecast]:
        """When the held requests will be done, the next one first."""
        return forecast(
            demands(self._estimates, waiting=self._batcher.keys(), held=self._held.values()),
        )

    def warm(self, checkpoint: CheckpointRef) -> None:
        """Make a checkpoint resident when there is nothing else to do and room for it.

        Failures are logged, not raised, and not repeated for a while.
        """
        if not self._is_draining:
            self._warming.add(checkpoint)

    def unload(self, digest: str | None = None) -> int:
        """Forget the weights of one checkpoint, or with None all that no held request needs.

        What a held request needs stays. Returns the bytes freed, on the device and of staged copies.
        """
        self._warming.forget_failures(digest)
        return self._residency.unload(digest, keep=self._register.weights())

    def info(self) -> EngineInfo:
        """Device, dtype and residency now."""
        return EngineInfo(
            runtime="torch",
            device=str(self._plan.device),
            device_name=self._plan.device_name,
            dtype=self._plan.dtype_name,
            reason=self._plan.reason,
            resident=self._residency.names(),
            held=self._residency.held(),
            weights_bytes=self._residency.size_bytes,
            weights_budget_bytes=self._residency.budget_bytes,
        )

    def take_ticks(self) -> list[TickReport]:
        """What the engine did since the last call, part by part; the oldest is lost after thousands."""
        return self._ticks.take()

    def check_invariants(self) -> None:
        """Raise AssertionError unless every image is in exactly one place."""
        self._register.check_invariants()

    def _open_learned(self) -> LearnedTimes | None:
        """Begins with what earlier processes measured on such a device."""
        if not self._config.learned:
            return None
        measured_on = MeasuredOn(self._plan.device_name, self._plan.dtype_name, torch.__version__)
        learned = LearnedTimes(Path(self._config.learned), measured_on, self._estimates)
        learned.load()
        return learned

    def _work(self) -> None:
        """Decodes alternate with turns, so neither finished nor running images wait for all of the others."""
        has_rows = self._batcher.has_rows()
        if self._decode_turns.is_due() and not (self._decoded_last and has_rows):
            self._decoded_last = True
            self._decode_turns.take()
        elif has_rows:
            self._decoded_last = False
            self._step_turns.take(before_load=self._decode_turns.take_resident)
        elif self._warming and not self._held:
            self._warming.serve()

    def _collect(self) -> None:
        """Take what the finisher made; wait for one only when there is nothing else to do."""
        is_idle = not self._batcher.has_rows() and not self._decode_turns.is_due()
        for finished in self._finisher.collect(wait=is_idle and not self._register.events):
            self._register.receive(finished)
