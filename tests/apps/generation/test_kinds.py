"""Every kind of request, from submit to the files and findings, on the stand-in runtime."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from apps.artifacts.models import Artifact
from apps.billing.models import UsageEvent
from apps.core import clock
from apps.generation.choices import ControlType, FaceChoice, Kind, Replacement
from apps.generation.models import GenerationJob, JobPreview
from apps.generation.picture_store import picture_path
from apps.generation.pictures import BytesSource, picture_bytes, take_picture
from apps.generation.wishes import (
    BackgroundWish,
    ControlWish,
    DetectWish,
    ExpandWish,
    FaceSwapWish,
    HiresWish,
    MaskWish,
    OutputWish,
    SafetyWish,
    StoredPicture,
    UpscaleWish,
)
from gpu_runtime.config import EngineConfig
from gpu_runtime.metadata.reading import read_settings
from tests.apps.generation.engines import MakePump, ScriptedEngine
from tests.apps.generation.hostile_pictures import quarters, saved
from tests.apps.generation.studio import Studio, assert_invariants_hold, reread, usage
from tests.apps.generation.utilities import make_utilities
from tests.factories import make_adapter, make_checkpoint


def photo(*, width: int = 320, height: int = 240, mode: str = "RGB") -> StoredPicture:
    image = quarters(size=(width, height))
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize((width, height)))
    return take_picture(BytesSource(saved(image, "PNG")), field="image", now=clock.now())


def run(live: Studio, make_pump: MakePump, **fields: Any) -> GenerationJob:
    defaults = {"seed": 7} if fields.get("kind", Kind.TXT2IMG) in DENOISED else {"checkpoint": ""}
    job = live.submit(**{**defaults, **fields})
    make_pump().run_until(lambda: reread(job).is_terminal)
    row = reread(job)
    assert (row.state, row.error_code, row.error_message) == ("succeeded", "", "")
    return row


DENOISED = {Kind.TXT2IMG, Kind.IMG2IMG, Kind.INPAINT, Kind.OUTPAINT, Kind.CONTROLNET, Kind.EDIT}


def files(job: GenerationJob) -> list[tuple[str, tuple[int, int]]]:
    """Format and size of what was delivered, as the files have it and the rows say it."""
    found = []
    for artifact in Artifact.objects.filter(job_id=job.pk).order_by("index"):
        with Image.open(io.BytesIO(artifact.file_path.read_bytes())) as image:
            assert image.size == (artifact.width, artifact.height)
            found.append((str(image.format), image.size))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A kind with what it needs, and the sizes of what comes out of a picture of 320 x 240."""

    kind: Kind
    fields: dict[str, Any]
    sizes: list[tuple[int, int]]


def everything() -> list[Made]:
    photograph, mask = photo(), photo(mode="RGBA")
    return [
        Made(kind=Kind.TXT2IMG, fields={"width": 64, "height": 128}, sizes=[(64, 128)]),
        Made(kind=Kind.TXT2IMG, fields={"hires": HiresWish(scale=1.5), "width": 64}, sizes=[(96, 96)]),
        Made(kind=Kind.IMG2IMG, fields={"image": photograph, "num_images": 2}, sizes=[(320, 240)] * 2),
        Made(kind=Kind.IMG2IMG, fields={"image": photograph, "strength": 0.0}, sizes=[(320, 240)]),
        Made(kind=Kind.INPAINT, fields={"image": photograph, "mask": mask}, sizes=[(320, 240)]),
        Made(
            kind=Kind.INPAINT,
            fields={"image": photograph, "mask": mask, "mask_options": MaskWish(is_only_masked=True)},
            sizes=[(320, 240)],
        ),
        Made(
            kind=Kind.OUTPAINT,
            fields={"image": photograph, "expand": ExpandWish(left=50, top=3)},
            sizes=[(370, 243)],
        ),
        Made(
            kind=Kind.CONTROLNET,
            fields={"controls": (ControlWish(picture=photograph, type=ControlType.CANNY),)},
            sizes=[(320, 240)],
        ),
        Made(kind=Kind.EDIT, fields={"image": photograph, "checkpoint": "kontext"}, sizes=[(320, 240)]),
        Made(kind=Kind.UPSCALE, fields={"image": photograph, "upscale": UpscaleWish()}, sizes=[(1280, 960)]),
        Made(
            kind=Kind.REMOVE_BACKGROUND,
            fields={"image": photograph, "background": BackgroundWish()},
            sizes=[(320, 240)],
        ),
        Made(kind=Kind.OBJECT_REMOVAL, fields={"image": photograph, "mask": mask}, sizes=[(320, 240)]),
        Made(kind=Kind.OBJECT_REMOVAL, fields={"image": photograph, "text": "a chair"}, sizes=[(320, 240)]),
        Made(
            kind=Kind.FACE_SWAP,
            fields={"image": photograph, "face_swap": FaceSwapWish(source=mask, which=FaceChoice.ALL)},
            sizes=[(320, 240)],
        ),
        Made(
            kind=Kind.DETECT,
            fields={"image": photograph, "detect": DetectWish(type=ControlType.OPENPOSE)},
            sizes=[(320, 240)],
        ),
        Made(kind=Kind.CAPTION, fields={"image": photograph}, sizes=[]),
        Made(kind=Kind.MASK, fields={"image": photograph, "text": "the red part"}, sizes=[(320, 240)]),
        Made(kind=Kind.NSFW_CHECK, fields={"image": photograph}, sizes=[]),
    ]


def test_every_kind_delivers_images_of_the_right_size(live: Studio, make_pump: MakePump) -> None:
    make_utilities(is_complete=True)
    make_adapter("edges", kind="controlnet", variant="canny")
    make_checkpoint("kontext", family="flux", variant="kontext", digest="1" * 64)
    cases = everything()
    assert {case.kind for case in cases} == set(Kind)
    jobs = []
    for case in cases:
        defaults = {} if case.kind in DENOISED else {"checkpoint": ""}
        jobs.append(live.submit(kind=case.kind, **{**defaults, **case.fields}))
    make_pump().run_until(lambda: all(reread(job).is_terminal for job in jobs))
    for case, job in zip(cases, jobs, strict=True):
        row = reread(job)
        assert (row.state, row.error_code) == ("succeeded", ""), (case.kind, row.error_message)
        assert files(row) == [("PNG", size) for size in case.sizes], case.kind
        event = UsageEvent.objects.get(job_id=row.pk)
        pixels = sum(width * height for width, height in case.sizes)
        assert (event.calls, event.images, event.pixels) == (1, len(case.sizes), pixels)
        assert row.progress_step == row.progress_total > 0
    assert usage(live.account) == (0, len(jobs))
    assert_invariants_hold()


def test_words_and_findings_are_kept_with_the_job(live: Studio, make_pump: MakePump) -> None:
    make_utilities(is_complete=True)
    image, swap = photo(), FaceSwapWish(source=photo(width=64))
    caption = live.submit(kind=Kind.CAPTION, checkpoint="", image=image)
    score = live.submit("", kind=Kind.NSFW_CHECK, checkpoint="", image=image)
    swapped = live.submit(kind=Kind.FACE_SWAP, checkpoint="", image=image, face_swap=swap)
    make_pump().run_until(lambda: all(reread(job).is_terminal for job in (caption, score, swapped)))
    assert reread(caption).result == {"caption": "a test card", "notes": {"caption": "a test card"}}
    assert reread(score).result == {
        "notes": {"nsfw": 0.0, "is_nsfw": False, "is_replaced": False},
        "safety": {"images": "passed"},
    }
    assert reread(swapped).result == {"notes": {"faces": 1, "faces_found": 1, "chosen_by": "size"}}


def test_a_prompt_is_checked_without_a_picture_and_beside_one(live: Studio, make_pump: MakePump) -> None:
    make_utilities()
    jobs = [
        live.submit("a nude woman", kind=Kind.NSFW_CHECK, checkpoint=""),
        live.submit("a red fox", kind=Kind.NSFW_CHECK, checkpoint="", image=photo()),
    ]
    make_pump().run_until(lambda: all(reread(job).is_terminal for job in jobs))
    alone, both = map(reread, jobs)
    assert (alone.state, both.state) == ("succeeded", "succeeded")
    judged = {"rule": "off", "prompt": "flagged", "terms": ["nude"]}
    assert alone.result == {"safety": judged}
    assert both.result["safety"] == {"rule": "off", "prompt": "passed", "terms": [], "images": "passed"}
    assert both.result["notes"]["nsfw"] == 0.0
    assert files(alone) == files(both) == []
    assert alone.progress_step == alone.progress_total > 0
    assert usage(live.account) == (0, 2)
    assert_invariants_hold()


def test_what_follows_an_image_is_done_to_each(live: Studio, make_pump: MakePump) -> None:
    make_utilities()
    job = run(
        live,
        make_pump,
        num_images=2,
        upscale=UpscaleWish(factor=2),
        background=BackgroundWish(),
        safety=SafetyWish(is_checked=True, replacement=Replacement.PIXELATE),
    )
    assert files(job) == [("PNG", (128, 128))] * 2
    assert [image["nsfw"] for image in job.result["images"]] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("media_type", "form", "extension"),
    [("image/jpeg", "JPEG", "jpg"), ("image/webp", "WEBP", "webp"), ("image/png", "PNG", "png")],
)
def test_files_are_of_the_asked_type_and_say_how_they_were_made(
    live: Studio, make_pump: MakePump, media_type: str, form: str, extension: str
) -> None:
    job = run(live, make_pump, num_images=2, seed=41, steps=9, output=OutputWish(media_type=media_type))
    assert [found for found, _ in files(job)] == [form] * 2
    for artifact, seed in zip(
        Artifact.objects.filter(job_id=job.pk).order_by("index"), (41, 42), strict=True
    ):
        assert (artifact.extension, artifact.media_type) == (extension, media_type)
        read = read_settings(artifact.file_path.read_bytes())
        assert read.infotext.startswith("a teal square\nSteps: 9, Sampler: DPM++ 2M,")
        assert f"Seed: {seed}," in read.infotext
        assert read.source == "darkroom"


def test_previews_are_kept_while_the_job_runs_and_not_longer(live: Studio, make_pump: MakePump) -> None:
    job = live.submit(wants_previews=True, steps=30)
    pump = make_pump(lambda: ScriptedEngine(config=EngineConfig(runtime="fake", fake_step_ms=4.0)))
    pump.run_until(lambda: JobPreview.objects.filter(job=job).exists())
    preview = JobPreview.objects.get(job=job)
    with Image.open(io.BytesIO(bytes(preview.data))) as image:
        assert image.format == "JPEG" and max(image.size) <= 256
    assert (preview.index, preview.step > 0) == (0, True)
    pump.run_until(lambda: reread(job).is_terminal)
    assert not JobPreview.objects.exists()


def test_a_picture_that_was_swept_fails_the_job_in_words(live: Studio, make_pump: MakePump) -> None:
    image = photo()
    job = live.submit(kind=Kind.IMG2IMG, image=image)
    assert picture_bytes(image.digest)
    picture_path(image.digest).unlink()
    make_pump().run_until(lambda: reread(job).is_terminal)
    row = reread(job)
    assert (row.state, row.error_code) == ("failed", "picture_gone")
    assert row.error_message == "A picture of this request is not stored any more; send the request again."
    assert usage(live.account) == (0, 0)
