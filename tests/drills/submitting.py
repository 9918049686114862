"""Single requests of the drills, and the question whether they have ended."""

from __future__ import annotations

from tests.harness.appliance import Appliance
from tests.harness.http_client import GENERATE, Client
from tests.harness.seed import CHECKPOINT


def submit(client: Client, prompt: str, *, steps: int = 10) -> int:
    """Have a small image accepted, without waiting for it; its job's id."""
    fields: dict[str, object] = {
        "prompt": prompt,
        "model_id": CHECKPOINT,
        "width": 64,
        "height": 64,
        "num_inference_steps": steps,
        "instant_response": True,
    }
    answer = client.post(GENERATE, fields)
    assert answer.status == 200, answer.body
    return int(answer.json()["id"])


def has_ended(appliance: Appliance, ids: list[int]) -> bool:
    """Whether all of these jobs are in a terminal state."""
    [[count]] = appliance.query(
        "SELECT count(*) FROM generation_generationjob WHERE id = ANY(%s) AND finished_at IS NOT NULL", [ids]
    )
    return bool(count == len(ids))
