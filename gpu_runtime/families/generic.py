"""Every family that runs through diffusers' own pipeline: PixArt, Sana, FLUX.2, Qwen-Image and many others.

Each image is one call of the pipeline, held after every step (`PipelineRun`), so that the engine moves all of
its images one step a turn: progress, cancelling, fairness and other requests in between are as with the
families that share steps. What is not shared is the denoiser call itself: each row makes its own.

The checkpoint's own noise scheduler makes the steps; a request's sampler is ignored. An image equals that of
the plain pipeline called with a CPU generator of the same seed. After the last step one more turn runs the
autoencoder, and the "latents" handed on are the finished image. Adapters, embeddings and other autoencoders
are refused: each of these architectures would need its own layer names.

When the weights leave the device between two turns, this object goes and its runs end with it. The next one
repeats the steps that were done; their number and the seed say all there is to know about an image.
"""

from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import WHOLE, Conditioning, ForwardInputs, Row, Start, TextEncoding
from gpu_runtime.families.generic_calls import call_of, fewest_steps, for_task, own_pipeline, task_class
from gpu_runtime.families.generic_latents import latent_view
from gpu_runtime.families.generic_pipelines import PIPELINES
from gpu_runtime.families.generic_requests import require_possible
from gpu_runtime.families.pipeline_run import PipelineRun
from gpu_runtime.messages import ImageRequest
from gpu_runtime.weights.pipeline_loader import load_pipeline
from gpu_runtime.weights.refused_pipelines import SAME_COMPONENTS
from gpu_runtime.weights.source import WeightsSource


class PipelineSampler:
    """The position of one image; a `family.StepSampler`.

    `advance` only takes note of what `GenericFamily.forward` did, which may have been called more than once.
    """

    def __init__(self, request: ImageRequest, index: int, *, lead: int = 0) -> None:
        self.request = request
        self.index = index
        self.position = 0
        """Turns that this image has had: one a step, and one for the autoencoder."""
        self._lead = lead
        self.run: PipelineRun | None = None
        self.is_done = False

    @property
    def steps_done(self) -> int:
        """Steps in the user's count; some noise schedulers and stages take more turns than that."""
        return min(max(0, self.position - self._lead), self.request.steps)

    @property
    def place(self) -> tuple[int, int]:
        """In steps; of no use here, for the pipeline keeps its own."""
        return self.steps_done, self.request.steps

    @property
    def timestep(self) -> float:
        """Of no use here: the pipeline keeps its own."""
        return 0.0

    def scale(self, latents: Tensor) -> Tensor:
        return latents

    @property
    def is_behind(self) -> bool:
        """Whether the next turn repeats the steps done so far: their call ended with the weights."""
        return self.position > 0 and (self.run is None or self.run.is_stopped)

    def release(self) -> None:
        """End the pipeline's call."""
        if self.run:
            self.run.stop()

    def drop_failed_run(self) -> None:
        """Give a call that ran out of memory another chance; one that failed otherwise would fail again."""
        if self.run and self.run.ran_out_of_memory:
            self.run.stop()
            self.run = None

    def advance(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """The latents one step later; after the last turn the image, float32 [1, 3, H, W], -1 to 1."""
        run = self.run
        if run is None or run.position != self.position + 1:
            raise RuntimeError("the pipeline was not moved by one step")
        self.position = run.position
        self.is_done = run.is_finished
        moved = run.image if run.is_finished else run.latents
        return latents if moved is None else moved


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineInputs(ForwardInputs):
    """One turn: every image's position."""

    samplers: tuple[PipelineSampler, ...]


class GenericFamily:
    """One loaded checkpoint."""

    def __init__(self, source: WeightsSource) -> None:
        """Raises CheckpointMissing, WeightsCorrupt or UnsupportedCombination."""
        self._plan = source.plan
        loaded = load_pipeline(
            source.folder,
            PIPELINES,
            dtype=self._plan.dtype,
            device=self._plan.device,
            renamed=SAME_COMPONENTS,
        )
        self._pipeline = loaded.pipeline
        self._spec = PIPELINES[loaded.class_name]
        package = self._spec.package
        if package and not importlib.util.find_spec(package):
            raise UnsupportedCombination(f"{loaded.class_name} needs the Python package {package}")
        self._view = latent_view(self._pipeline)
        self._tasks: dict[str, Any] = {}
        """Pipelines for images and masks, by class name. Any: untyped in diffusers."""
        self._runs: weakref.WeakSet[PipelineRun] = weakref.WeakSet()
        weakref.finalize(self, _stop_all, self._runs)

    @property
    def vae(self) -> None:
        """The pipeline's own call runs its autoencoder."""
        return None

    def encode(self, request: ImageRequest, vae: Any = None) -> Conditioning:
        """Check the request; the prompt is encoded by each image's own call."""
        require_possible(self._spec, request)
        if request.references and self._spec.references_in_bfloat16 and self._plan.dtype != torch.bfloat16:
            raise UnsupportedCombination("this checkpoint reads reference pictures in bfloat16 alone")
        if request.steps < fewest_steps(self._pipeline, self._spec):
            raise UnsupportedCombination("this checkpoint makes no image in a single step: ask for 2 or more")
        nothing = TextEncoding(tokens=torch.zeros(1, 0, 0))
        return Conditioning(
            positive=nothing,
            # As many forward rows as the step batcher counts for a request of this guidance.
            negative=nothing if request.guidance_scale > 1 else None,
            guidance_scale=request.guidance_scale,
        )

    def begin(
        self, request: ImageRequest, index: int, conditioning: Conditioning, start: Start = WHOLE
    ) -> Row:
        """Image `index` before its first step. Raises UnsupportedCombination for one pass of several."""
        if start != WHOLE:
            raise UnsupportedCombination("this checkpoint's pipeline makes an image in one pass")
        latents = torch.zeros(1, 1, 1, 1, device=self._plan.device)
        sampler = PipelineSampler(request, index, lead=self._spec.lead)
        return Row(
            conditioning=conditioning,
            sampler=sampler,
            latents=latents,
            release=sampler.release,
            is_lost_with_weights=True,
        )

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """The positions of all images. Raises TypeError for rows of another family."""
        samplers = tuple(_own_sampler(row) for row in rows)
        for sampler in samplers:
            # Here, not in `forward`: within one turn a call made smaller must not repeat all steps to fail.
            sampler.drop_failed_run()
        guided = tuple(i for i, row in enumerate(rows) if row.conditioning.negative is not None)
        device = self._plan.device
        return PipelineInputs(
            latents=torch.zeros(len(rows) + len(guided), 1, 1, 1, device=device),
            timesteps=torch.zeros(len(rows) + len(guided), device=device),
            context=torch.zeros(len(rows) + len(guided), 0, 0, device=device),
            guided=guided,
            guidance=torch.zeros(len(guided), 1, 1, 1, device=device),
            samplers=samplers,
            repeats_steps=any(sampler.is_behind for sampler in samplers),
        )

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """Move each image of the part by one step, unless an earlier call for the same turn has.

        Returns float32 [len, 1, 1, 1]: the largest magnitude in each image's latents, NaN where one is NaN.
        """
        if not isinstance(inputs, PipelineInputs):
            raise TypeError("these inputs come from another family")
        moved = inputs.samplers[part]
        results = [self._moved(sampler) for sampler in moved]
        # The unconditional rows are part of the pipeline's own call.
        results += [torch.zeros(1, 1, 1, 1, device=self._plan.device)] * (part.stop - part.start - len(moved))
        return torch.cat(results)

    def combine(self, prediction: Tensor, inputs: ForwardInputs) -> Tensor:
        """The images' rows; guidance is the pipeline's business."""
        return prediction[: prediction.shape[0] - len(inputs.guided)]

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        """The images as they are; `vae` is refused at `encode`."""
        return latents

    def shown_latents(self, row: Row) -> Tensor | None:
        """`previews.ShowsLatents`: the latents that a preview is made of."""
        request = _own_sampler(row).request
        return self._view.unpacked(row.latents, request.width, request.height) if self._view else None

    def decode_shown(self, latents: Tensor) -> Tensor:
        """What those latents will look like; only of latents that `shown_latents` gave."""
        if self._view is None:
            raise RuntimeError("nothing is shown of this pipeline's latents")
        return self._view.decoded(latents)

    def _moved(self, sampler: PipelineSampler) -> Tensor:
        run = sampler.run
        if run is None or run.is_stopped:
            run = sampler.run = self._start(sampler)
        while run.position <= sampler.position:
            run.advance()
        reached = run.image if run.is_finished else run.latents
        if reached is None:
            raise RuntimeError("the pipeline's callback brought no latents")
        return reached.detach().float().abs().amax().reshape(1, 1, 1, 1)

    def _start(self, sampler: PipelineSampler) -> PipelineRun:
        seed = sampler.request.seeds[sampler.index]
        pipeline = own_pipeline(self._pipeline_for(sampler.request))
        call = call_of(pipeline, self._spec, sampler.request, seed)
        run = PipelineRun(call, self._plan.device)
        self._runs.add(run)
        # For whoever drops a row without releasing it: a run must not outlive its sampler.
        weakref.finalize(sampler, run.stop)
        return run

    def _pipeline_for(self, request: ImageRequest) -> Any:
        """The pipeline for the request's task, made of the same components."""
        class_name = task_class(self._spec, request)
        if class_name is None:
            return self._pipeline
        if class_name not in self._tasks:
            self._tasks[class_name] = for_task(self._pipeline, class_name)
        return self._tasks[class_name]


def _own_sampler(row: Row) -> PipelineSampler:
    if not isinstance(row.sampler, PipelineSampler):
        raise TypeError("this row was begun by another family")
    return row.sampler


def _stop_all(runs: weakref.WeakSet[PipelineRun]) -> None:
    for run in list(runs):
        run.stop()
