"""A whole appliance that answers the cases: its own processes, with the starter model and shipped weights.

Knows nothing about how answers are shown.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from deploy.appliance.environment import REPOSITORY
from gpu_runtime.tiny.ip_adapters import make_tiny_ip_adapter, make_tiny_picture_encoder
from gpu_runtime.tiny.pipelines import make_tiny
from gpu_runtime.tiny.single_components import make_tiny_controlnet
from tests.contact_sheet.case import Case, Photo
from tests.contact_sheet.photographs import Pixels, photograph
from tests.harness.appliance import Appliance, drill_folder
from tests.harness.http_client import Answer, Client

MANAGE: Final = str(REPOSITORY / "manage.py")
PATIENCE_S: Final = 900.0
"""An upscale to eight times its size is minutes of work for a processor."""
WAIT_S: Final = 50
ENDED: Final = ("succeeded", "failed", "canceled", "quarantined", "expired")

NETWORKS: Final[Mapping[str, Callable[[Path], Path]]] = {
    "tiny-sd15": lambda folder: make_tiny("sd15", folder),
    "tiny-sdxl": lambda folder: make_tiny("sdxl", folder),
    "tiny-refiner": lambda folder: make_tiny("sdxl-refiner", folder),
    "tiny-kontext": lambda folder: make_tiny("flux-kontext", folder),
    "tiny-edit": lambda folder: make_tiny("flux2-klein", folder),
    "tiny-controlnet": lambda folder: make_tiny_controlnet("sd15", folder),
    "tiny-picture-encoder": lambda folder: make_tiny_picture_encoder("clip", folder),
    "tiny-ip-adapter": lambda folder: make_tiny_ip_adapter("sd15", folder.with_suffix(".safetensors")),
}
"""Makes a network with random weights in a folder, and says where it lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one case."""

    case: Case
    inputs: Mapping[str, Pixels]
    """By where they stand in the request."""
    outputs: tuple[Pixels, ...] = ()
    seconds: float = 0.0
    """From the request to its last image, as the client sees it."""
    work_seconds: float = 0.0
    """Of it in the worker."""
    refusal: str = ""
    """Code and text; "" where there was none."""
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_as_expected(self) -> bool:
        return bool(self.refusal) == self.case.is_refused


@dataclass(slots=True, kw_only=True)
class Studio:
    """Sends requests; each picture is uploaded once."""

    client: Client
    port: int
    longest_px: int
    uploads: dict[str, str] = field(default_factory=dict)

    def make(self, case: Case) -> Result:
        """Raises RuntimeError when there is no end, or an answer that nobody could have expected."""
        inputs = dict(self._inputs(case.body))
        body = self._sent(case.body)
        started = time.perf_counter()
        answer = self.client.post("/v1/jobs", body, Prefer=f"wait={WAIT_S}")
        if answer.status >= 500:
            raise RuntimeError(f"{case.name}: {answer.status} {answer.body[:500]!r}")
        if answer.status >= 400:
            problem = answer.json()
            return Result(case=case, inputs=inputs, refusal=f"{problem['code']}: {problem['detail']}")
        job = self._ended(answer)
        outputs = tuple(self._fetched(image["url"]) for image in job["images"])
        seconds = time.perf_counter() - started
        error = job["error"]
        return Result(
            case=case,
            inputs=inputs,
            outputs=outputs,
            seconds=seconds,
            work_seconds=sum(each["seconds"] for each in job["timeline"] if each["phase"] != "queued"),
            refusal=f"{error['code']}: {error['message']}" if error else "",
            notes=job["result"],
        )

    def _ended(self, answer: Answer) -> Mapping[str, Any]:
        """The job, when nothing more will come of it."""
        give_up_at = time.monotonic() + PATIENCE_S
        job: Mapping[str, Any] = answer.json()
        while job["state"] not in ENDED:
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"job {job['id']} was not done after {PATIENCE_S:.0f} s")
            time.sleep(0.2)
            job = self.client.get(f"/v1/jobs/{job['id']}").json()
        return job

    def _fetched(self, url: str) -> Pixels:
        answer = self.client.get(url.partition(f":{self.port}")[2])
        return np.asarray(Image.open(io.BytesIO(answer.body)))

    def _inputs(self, value: Any, place: str = "") -> Iterator[tuple[str, Pixels]]:
        if isinstance(value, Photo):
            yield f"{place}: {value.name}", photograph(value.name, longest_px=self.longest_px)
        elif isinstance(value, Mapping):
            for name, each in value.items():
                yield from self._inputs(each, name)
        elif isinstance(value, list):
            for each in value:
                yield from self._inputs(each, place)

    def _sent(self, value: Any) -> Any:
        """JSON with the ids of uploads."""
        if isinstance(value, Photo):
            return self._uploaded(value.name)
        if isinstance(value, Mapping):
            return {name: self._sent(each) for name, each in value.items()}
        return [self._sent(each) for each in value] if isinstance(value, list) else value

    def _uploaded(self, name: str) -> str:
        if name not in self.uploads:
            answer = self.client.send("POST", "/v1/uploads", self._png(name), {"Content-Type": "image/png"})
            if answer.status != 201:
                raise RuntimeError(
                    f"the upload of {name} was answered {answer.status}: {answer.body[:500]!r}"
                )
            self.uploads[name] = answer.json()["id"]
        return self.uploads[name]

    def _png(self, name: str) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(photograph(name, longest_px=self.longest_px)).save(buffer, "PNG")
        return buffer.getvalue()


@contextmanager
def open_studio(cases: Iterable[Case], *, longest_px: int, tell: Callable[[str], None]) -> Iterator[Studio]:
    """An appliance with all that the cases need; gone afterwards."""
    needed = [name for name in NETWORKS if any(name in case.needs for case in cases)]
    settings = {"DARKROOM_CPU_THREADS": "2"}
    with drill_folder() as folder:
        tell("starting an appliance")
        with Appliance(folder, runtime="torch", settings=settings) as appliance:
            tell("registering the starter model and the weights that ship")
            appliance.run_python(MANAGE, "bootstrap")
            for name in needed:
                tell(f"importing {name}")
                made = NETWORKS[name](folder / name)
                appliance.run_python(MANAGE, "models", "import", str(made), "--name", name, "--here")
            with Client(appliance.port, key=appliance.keys[0], timeout_s=PATIENCE_S) as client:
                yield Studio(client=client, port=appliance.port, longest_px=longest_px)
