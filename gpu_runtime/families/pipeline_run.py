"""One call of a diffusers pipeline that stops after every denoising step.

The call runs in a thread of its own, but never at the same time as its owner: `advance` hands over control
and gets it back when the next step is done. So the owner decides when each step happens, and may let other
work have the device in between. Knows nothing about requests, models or the engine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gpu_runtime.device_faults import is_device_lost, is_out_of_memory
from gpu_runtime.errors import DeviceLost, RuntimeFault

log = logging.getLogger(__name__)

OnStep = Callable[[Tensor], None]
"""What the pipeline's callback calls after each step, with the latents."""

Call = Callable[[OnStep], Tensor]
"""Runs the pipeline to its end and returns the image."""


class _Stopped(BaseException):
    """Unwinds the pipeline; no handler for errors catches it."""


class PipelineRun:
    """A pipeline call in slow motion. All methods belong to one thread, the owner's.

    An abandoned run must be stopped: its thread keeps it alive.
    """

    def __init__(self, call: Call, device: torch.device) -> None:
        self._call: Call | None = call
        self._device = device
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._failure: Callable[[], Exception] | None = None
        self.is_stopped = False
        self.ran_out_of_memory = False
        """Whether that is how the call failed."""
        self.is_finished = False
        """Whether the image is there."""
        self.position = 0
        """Calls of `advance` that succeeded: one a step, and one from the last step to the image."""
        self.latents: Tensor | None = None
        """After the latest step, in the pipeline's own shape; None before the first."""
        self.image: Tensor | None = None
        """What the call returned."""

    def advance(self) -> None:
        """Let the call go on until its next step is done, or to its end after the last one.

        Raises torch.OutOfMemoryError, DeviceLost, or RuntimeFault for whatever else the call raises. A run
        that failed fails again at every later call.
        """
        if self.is_stopped or self.is_finished:
            raise RuntimeError("this pipeline run is over")
        if self._failure is None:
            self._hand_over()
        if self._failure is not None:
            raise self._failure()
        self.position += 1

    def stop(self) -> None:
        """End the call where it is. Returns when its thread has ended; may be called again."""
        self.is_stopped = True
        thread, self._thread = self._thread, None
        if thread is None or thread is threading.current_thread():
            return
        self._go.release()
        thread.join()

    def _hand_over(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pipeline-run", daemon=True)
            self._thread.start()
        else:
            self._go.release()
        self._back.acquire()

    def _run(self) -> None:
        """The thread's body."""
        call, self._call = self._call, None
        assert call is not None  # the thread is started once
        try:
            # Both are settings of a thread, not of the process.
            with (
                torch.inference_mode(),
                torch.cuda.device(self._device if self._device.type == "cuda" else -1),
            ):
                self.image = call(self._on_step)
            self.is_finished = True
        except _Stopped:
            log.debug("a pipeline run was stopped after %d steps", self.position)
        except Exception as error:
            # The thread's edge: the owner raises it.
            log.info("a pipeline run failed after %d steps", self.position, exc_info=True)
            self._failure = _failure_of(error)
            self.ran_out_of_memory = is_out_of_memory(error)
        finally:
            # Whatever happened: the owner waits.
            del call
            self._back.release()

    def _on_step(self, latents: Tensor) -> None:
        self.latents = latents
        self._back.release()
        self._go.acquire()
        if self.is_stopped:
            raise _Stopped


def _failure_of(error: Exception) -> Callable[[], Exception]:
    """Makes the exception to raise for an error of the call.

    A new one each time, and never the error itself: its frames would keep networks and results alive, and
    those of whoever called `advance` would keep the run.
    """
    if is_out_of_memory(error):
        return partial(torch.OutOfMemoryError, str(error))
    if is_device_lost(error):
        return partial(DeviceLost, f"the device failed in a pipeline: {error}")
    return partial(RuntimeFault, f"{type(error).__name__} in a pipeline: {error}")
