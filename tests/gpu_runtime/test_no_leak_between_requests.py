"""What one request brings changes no bit of what another gets.

Two runs differ in nothing but the secrets of the victim's neighbours: their prompts, negative prompts, LoRAs,
embeddings, init images, masks, control images and picture prompts, under the same names and shapes as the
victim's own. Whatever the victim is handed, images and previews and progress, must be the same to the bit:
with them in the same calls, after some were canceled or failed, and with caches so small that everything is
evicted and read again. In the exact tier it must also equal what the victim gets all alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import (
    CheckpointRef,
    EmbeddingRef,
    HiresFix,
    ImageDone,
    ImageRequest,
    Preview,
    Progress,
    RequestDone,
    Sampler,
    Tier,
)
from gpu_runtime.tiny.files import write_safetensors
from gpu_runtime.tiny.lora import make_tiny_lora
from tests.gpu_runtime.control_references import ExtraNetworks
from tests.gpu_runtime.driving import Outcome, drive, image_request
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.lora_files import lora_ref
from tests.gpu_runtime.picture_references import as_input, painted_mask, photo

VICTIM = {"victim/0", "victim again/0"}

TEXT_WIDTH = {"sd15": 12, "flux": 0}
"""Of the CLIP text encoder whose words embeddings replace; 0 for none."""


@dataclass(frozen=True)
class Secret:
    """What somebody brings, all of it derived from one number."""

    number: int
    checkpoint: CheckpointRef
    folder: Path
    networks: ExtraNetworks

    def request(self, name: str, **changes: Any) -> ImageRequest:
        """With a prompt, a LoRA and an embedding of this secret."""
        fields: dict[str, Any] = {
            "prompt": f"charm code {self.number}",
            "negative_prompt": f"bad {self.number}",
            "width": 64,
            "height": 64,
            "steps": 2,
            "seeds": (5,),
            "wants_previews": True,
            "loras": (self.lora(),),
            "embeddings": self.embeddings(),
            **changes,
        }
        return image_request(name, self.checkpoint, **fields)

    def company(self, tier: Tier) -> list[ImageRequest]:
        """Neighbours that bring everything there is to bring."""
        control = self.networks.control(self.checkpoint.family, self.number)
        adapter = self.networks.adapter(self.checkpoint.family, self.number)
        hires = HiresFix(width=80, height=80, strength=0.5, steps=2)
        picture, shift = as_input(photo(self.number)), 64 + self.number
        return [
            self.request("plain", tier=tier, loras=(), embeddings=()),
            self.request("styled", tier=tier, account="ben", sampler=Sampler.HEUN),
            self.request("masked", tier=tier, image=picture, mask=as_input(painted_mask(width=shift))),
            self.request("by pictures", tier=tier, controls=(control,), ip_adapters=(adapter,)),
            self.request("larger", tier=tier, hires=hires),
        ]

    def lora(self) -> Any:
        file = self.folder / f"{self.number}.safetensors"
        file_format = "diffusers" if self.checkpoint.family == "flux" else "kohya"
        if not file.exists():
            make_tiny_lora(self.checkpoint.family, file, rank=2, seed=self.number, file_format=file_format)
        return lora_ref(file, 0.8, name="the same name")

    def embeddings(self) -> tuple[EmbeddingRef, ...]:
        width = TEXT_WIDTH[self.checkpoint.family]
        if not width:
            return ()
        file = self.folder / f"embedding-{self.number}.safetensors"
        vectors = torch.randn((1, width), generator=torch.Generator().manual_seed(self.number))
        write_safetensors({"emb_params": vectors}, file, metadata={"format": "pt"})
        return (EmbeddingRef(name="charm", token="charm", path=str(file), digest=str(file)),)


@dataclass
class Run:
    """One engine with small caches, the victim in the middle of its neighbours."""

    tier: Tier
    outcome: Outcome = field(default_factory=Outcome)

    def __call__(self, victim: ImageRequest, company: list[ImageRequest]) -> Run:
        config = EngineConfig(check_invariants=True, prompt_cache_entries=1, lora_budget_mb=0, exact_rows=4)
        engine = Engine(config)
        for request in company[::2]:
            engine.submit(request)
        self._steps(engine, 1)
        engine.submit(victim)
        for request in company[1::2]:
            engine.submit(request)
        self._steps(engine, 1)
        for request in company[:2]:
            engine.cancel(request.request_id)
        drive(engine, self.outcome)
        for request in [*company[:2], replace(victim, request_id="victim again")]:
            engine.submit(request)
        drive(engine, self.outcome)
        engine.close()
        return self

    def _steps(self, engine: Engine, count: int) -> None:
        for _ in range(count):
            self.outcome.events += engine.step()

    def images(self) -> dict[str, bytes]:
        """Files of the images of all that succeeded, by request and index."""
        done = {event.request_id for event in self.outcome.events if isinstance(event, RequestDone)}
        return {
            f"{event.request_id}/{event.index}": event.data
            for event in self.outcome.events
            if isinstance(event, ImageDone) and event.request_id in done
        }

    def previews(self) -> dict[tuple[str, int, int], bytes]:
        """Those of the victim; which come depends on the time that they take."""
        return {
            (event.request_id, event.index, event.step): event.data
            for event in self.outcome.events
            if isinstance(event, Preview) and event.request_id.startswith("victim")
        }

    def progress(self) -> set[tuple[int, int]]:
        return {
            (event.step, event.total)
            for event in self.outcome.events
            if isinstance(event, Progress) and event.request_id == "victim"
        }


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("families"))


@pytest.fixture(autouse=True)
def previews_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_runtime.previews.INTERVAL_S", 0.0)


@pytest.mark.parametrize(("family", "tier"), [("sd15", Tier.STANDARD), ("flux", Tier.EXACT)])
def test_neighbours_secrets_change_no_bit_of_the_victim(
    family: str, tier: Tier, checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    networks = ExtraNetworks(tmp_path)
    own, one, other = (
        Secret(number, checkpoints.plain(family), tmp_path, networks) for number in (11, 12, 13)
    )
    victim = own.request("victim", tier=tier, image=as_input(photo(1)), strength=0.9, steps=3)
    first, second = Run(tier)(victim, one.company(tier)), Run(tier)(victim, other.company(tier))
    same = {name for name, data in first.images().items() if second.images()[name] == data}
    assert same == VICTIM, "and the control: what the others bring matters to them"
    assert first.progress() == second.progress()
    both = first.previews().keys() & second.previews().keys()
    assert both
    assert all(first.previews()[which] == second.previews()[which] for which in both)
    if tier is Tier.EXACT:
        alone = Run(tier)(victim, []).images()
        assert {name: first.images()[name] for name in VICTIM} == alone
