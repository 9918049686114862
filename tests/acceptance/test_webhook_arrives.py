"""Over HTTP and through every process: a request, a worker, housekeeping, and the receiver that is told."""

from __future__ import annotations

import pytest
from standardwebhooks.webhooks import Webhook

from tests.drills.submitting import has_ended
from tests.harness.appliance import Appliance, drill_folder
from tests.harness.http_client import GENERATE, Client
from tests.harness.receiver import Fate, Receiver
from tests.harness.seed import CHECKPOINT
from tests.harness.waits import wait_until

pytestmark = pytest.mark.slow

# The second attempt is due 5 s after the first, give or take a fifth.
SOON_S = 60.0


def test_a_receiver_is_told_of_a_job_by_real_processes() -> None:
    with drill_folder() as folder, Receiver() as receiver:
        receiver.script = [Fate(status=503)]
        settings = {"DARKROOM_WEBHOOK_HTTPS": "no", "DARKROOM_FETCH_ALLOW": receiver.allowed}
        with (
            Appliance(folder, settings=settings, has_housekeeping=True) as appliance,
            Client(appliance.port, key=appliance.keys[0]) as client,
        ):
            # Nothing but the ring of the process that ends the job shall wake a deliverer.
            appliance.query("DELETE FROM django_q_schedule WHERE func = 'apps.webhooks.tasks.deliver'")
            secret = client.post("/v1/webhooks/secret", {}).json()["secret"]
            job_id = submit(client, receiver.url("/hook"))
            wait_until(lambda: has_ended(appliance, [job_id]), what="the image")
            wait_until(receiver.taken, what="the webhook", timeout_s=SOON_S)
            wait_until(lambda: delivered(client, job_id), what="its line in the log")
        refused, taken = receiver.requests
        told = Webhook(secret).verify(taken.body, dict(taken.headers))
        assert (told["id"], told["status"], told["track_id"]) == (job_id, "success", "order 7")
        assert len(told["output"]) == 1
        assert refused.event_id == taken.event_id


def delivered(client: Client, job_id: int) -> bool:
    """Whether the log says so, with both attempts."""
    [line] = client.get(f"/v1/webhooks/deliveries?job_id={job_id}").json()["items"]
    return (line["state"], line["attempts"]) == ("delivered", 2)


def submit(client: Client, webhook: str) -> int:
    fields: dict[str, object] = {
        "prompt": "a mill",
        "model_id": CHECKPOINT,
        "width": 64,
        "height": 64,
        "instant_response": True,
        "webhook": webhook,
        "track_id": "order 7",
    }
    answer = client.post(GENERATE, fields)
    assert answer.status == 200, answer.body
    return int(answer.json()["id"])
