"""LoRAs, embeddings and VAEs of a request: from their names to what the runtime is handed."""

from __future__ import annotations

import pytest

from apps.catalog.choices import ResidencyPolicy, Visibility
from apps.catalog.errors import EntryDisabled, FamilyMismatch, LoraNotFound, VaeNotFound
from apps.core.errors import InvalidField
from apps.generation.adapters import entries_of
from apps.generation.models import GenerationJob
from apps.generation.resolved import ResolvedRequest
from apps.generation.used import UsedAdapters, UsedEntry, UsedLora
from apps.generation.wishes import LoraWish
from apps.generation.work_plan import work_request
from gpu_runtime.messages import EmbeddingRef, ImageRequest, LoraRef, Sampler, SigmaSchedule, VaeRef
from tests.apps.generation.studio import Studio, claim_one, on_record
from tests.factories import make_adapter, make_checkpoint


def handed_over(job: GenerationJob) -> ImageRequest:
    """The job as the pump hands it to the engine."""
    request = work_request(job, entries_of([job])).image
    assert request is not None
    return request


def test_adapters_are_stored_by_entry_under_their_own_names(studio: Studio) -> None:
    lora = make_adapter("ink", aliases=["ink-style"])
    vae = make_adapter("bright", kind="vae")
    embedding = make_adapter("calm", kind="embedding")
    studio.submit(loras=(LoraWish(name="ink-style", scale=0.4),), vae="bright", embeddings=("calm",))
    assert GenerationJob.objects.get().resolved.adapters == UsedAdapters(
        loras=(UsedLora(entry_id=lora.pk, name="ink", scale=0.4),),
        embeddings=(UsedEntry(entry_id=embedding.pk, name="calm"),),
        vae=UsedEntry(entry_id=vae.pk, name="bright"),
    )
    stored = GenerationJob.objects.get().request["adapters"]["loras"]
    assert stored == [{"entry_id": lora.pk, "name": "ink", "scale": 0.4}]


def test_the_engine_is_handed_files_and_strengths(studio: Studio) -> None:
    lora, vae = make_adapter("ink"), make_adapter("bright", kind="vae")
    calm = make_adapter("calm", kind="embedding", trigger_words=["calm-v2"])
    studio.submit(
        "a lake, calm-v2", loras=(LoraWish(name="ink", scale=-0.5),), vae="bright", embeddings=("calm",)
    )
    request = handed_over(claim_one())
    file = "/nowhere/ink/weights.safetensors"
    assert request.loras == (LoraRef(name="ink", path=file, digest=lora.digest, scale=-0.5),)
    assert request.vae == VaeRef(name="bright", path="/nowhere/bright", digest=vae.digest)
    assert request.embeddings == (
        EmbeddingRef(
            name="calm", token="calm-v2", path="/nowhere/calm/weights.safetensors", digest=calm.digest
        ),
    )


def test_entries_of_any_number_of_jobs_cost_one_query(
    studio: Studio, django_assert_num_queries: object
) -> None:
    lora = make_adapter("ink")
    jobs = [studio.submit(), studio.submit(loras=(LoraWish(name="ink"),))]
    with django_assert_num_queries(1):  # type: ignore[operator]  # pytest-django's fixture is untyped
        assert entries_of(jobs).keys() == {studio.checkpoint.pk, lora.pk}
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert entries_of([]) == {}


@pytest.mark.parametrize(
    ("prompt", "negative_prompt", "token"),
    [
        ("a lake, calm-v2", "", "calm-v2"),
        ("a lake", "by quiet hands", "quiet"),
        ("calm, a lake", "", "calm"),
        ("calmly, a lake", "", "calm"),
        ("nothing of it", "", "calm"),
    ],
)
def test_an_embedding_goes_by_the_word_the_prompts_use(
    studio: Studio, prompt: str, negative_prompt: str, token: str
) -> None:
    make_adapter("calm", kind="embedding", trigger_words=["calm-v2"], aliases=["quiet"])
    studio.submit(prompt, negative_prompt=negative_prompt, embeddings=("calm",))
    assert [ref.token for ref in handed_over(claim_one()).embeddings] == [token]


def test_the_checkpoints_policy_reaches_the_engine(studio: Studio) -> None:
    studio.checkpoint.residency_policy = ResidencyPolicy.PINNED
    studio.checkpoint.keep_alive_s = 90
    studio.checkpoint.variant = "turbo"
    studio.checkpoint.save()
    studio.submit()
    ref = handed_over(claim_one()).checkpoint
    assert (ref.is_pinned, ref.keep_alive_s, ref.variant) == (True, 90, "turbo")


def test_a_lora_of_another_family_is_refused_and_nothing_happens(studio: Studio) -> None:
    make_adapter("ink-xl", family="sdxl")
    before = on_record()
    with pytest.raises(FamilyMismatch) as refusal:
        studio.submit(loras=(LoraWish(name="ink-xl"),))
    assert str(refusal.value) == "LoRA ink-xl is made for sdxl and does not fit the model tiny (sd15)."
    assert on_record() == before


@pytest.mark.parametrize(
    ("fields", "refusal", "message"),
    [
        ({"loras": (LoraWish(name="nothing"),)}, LoraNotFound, "LoRA not found: nothing"),
        ({"loras": (LoraWish(name="bright"),)}, LoraNotFound, "LoRA not found: bright"),
        ({"vae": "ink"}, VaeNotFound, "VAE not found: ink"),
        ({"loras": (LoraWish(name="off"),)}, EntryDisabled, "The model off is disabled on this server."),
    ],
)
def test_what_is_not_there_is_refused_by_kind(
    studio: Studio, fields: dict[str, object], refusal: type[Exception], message: str
) -> None:
    make_adapter("ink")
    make_adapter("bright", kind="vae")
    make_adapter("off", is_enabled=False)
    before = on_record()
    with pytest.raises(refusal) as caught:
        studio.submit(**fields)
    assert str(caught.value) == message
    assert on_record() == before


def test_a_strangers_private_lora_does_not_exist(studio: Studio) -> None:
    make_adapter("own", visibility=Visibility.PRIVATE, owner=studio.account)
    assert studio.submit(loras=(LoraWish(name="own"),)).pk
    with pytest.raises(LoraNotFound):
        studio.submit(loras=(LoraWish(name="own"),), by_stranger=True)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"loras": (LoraWish(name="a"),) * 2}, "loras must name each LoRA once"),
        ({"loras": tuple(LoraWish(name=f"l{i}") for i in range(9))}, "loras must be at most 8, not 9"),
        ({"embeddings": tuple(f"e{i}" for i in range(17))}, "embeddings must be at most 16, not 17"),
        ({"vae": "a\0b"}, "vae must not contain the character NUL (U+0000)"),
    ],
)
def test_what_can_never_be_right_is_refused_before_the_catalogue_is_asked(
    studio: Studio, fields: dict[str, object], problem: str
) -> None:
    with pytest.raises(InvalidField) as refusal:
        studio.submit(**fields)
    assert str(refusal.value) == problem


@pytest.mark.parametrize("scale", [4.5, -4.5, float("nan")])
def test_a_scale_out_of_range_is_refused_where_it_is_said(scale: float) -> None:
    with pytest.raises(InvalidField, match=f"^lora_scale must be -4.0 to 4.0, not {scale}$"):
        LoraWish(name="a", scale=scale)


def test_jobs_of_earlier_versions_are_read_as_without_adapters(studio: Studio) -> None:
    stored = studio.submit().request
    del stored["adapters"]
    assert ResolvedRequest.from_json(stored).adapters == UsedAdapters()


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        (None, Sampler.EULER),
        (Sampler.HEUN, Sampler.HEUN),
        (Sampler.DPMPP_2M, Sampler.DPMPP_2M),
        (Sampler.DPMPP_2M_SDE, Sampler.DPMPP_2M),
        (Sampler.EULER_A, Sampler.EULER),
    ],
)
def test_a_sampler_the_family_lacks_gives_way_to_the_nearest(
    studio: Studio, asked: Sampler | None, used: Sampler
) -> None:
    make_checkpoint("flux", family="flux", defaults={"steps": 4, "guidance_scale": 3.5, "sampler": "euler"})
    resolved = studio.submit(checkpoint="flux", sampler=asked, schedule=SigmaSchedule.KARRAS).resolved
    assert (resolved.sampler, resolved.schedule) == (used, SigmaSchedule.AUTOMATIC)


def test_a_schedule_the_sampler_lacks_gives_way_to_the_automatic_one(studio: Studio) -> None:
    resolved = studio.submit(sampler=Sampler.DDIM, schedule=SigmaSchedule.KARRAS).resolved
    assert (resolved.sampler, resolved.schedule) == (Sampler.DDIM, SigmaSchedule.AUTOMATIC)
    resolved = studio.submit(sampler=Sampler.EULER_A, schedule=SigmaSchedule.BETA).resolved
    assert (resolved.sampler, resolved.schedule) == (Sampler.EULER_A, SigmaSchedule.BETA)


def test_a_checkpoints_default_sampler_may_name_a_schedule(studio: Studio) -> None:
    defaults = {"steps": 4, "guidance_scale": 3.5, "sampler": "dpmpp_2m_karras"}
    make_checkpoint("karras", defaults=defaults)
    resolved = studio.submit(checkpoint="karras").resolved
    assert (resolved.sampler, resolved.schedule) == (Sampler.DPMPP_2M, SigmaSchedule.KARRAS)


def test_jobs_of_earlier_versions_have_the_schedule_in_the_samplers_name(studio: Studio) -> None:
    stored = studio.submit().request
    del stored["schedule"]
    stored["sampler"] = "dpmpp_2m_sde_karras"
    read = ResolvedRequest.from_json(stored)
    assert (read.sampler, read.schedule) == (Sampler.DPMPP_2M_SDE, SigmaSchedule.KARRAS)


def test_sides_are_denoised_in_the_familys_multiples(studio: Studio) -> None:
    make_checkpoint("flux", family="flux", defaults={"steps": 4, "guidance_scale": 3.5, "sampler": "euler"})
    resolved = studio.submit(checkpoint="flux", width=200, height=136).resolved
    assert (resolved.width, resolved.height) == (200, 136)
    assert (resolved.denoised_width, resolved.denoised_height) == (192, 128)


@pytest.mark.parametrize(
    ("variant", "needed"),
    [
        ("inpaint", "an image and a mask"),
        ("fill", "an image and a mask"),
        ("refiner", "an image of another model to refine"),
        ("pix2pix", "an image to edit"),
    ],
)
def test_a_checkpoint_that_needs_an_image_is_refused_for_a_prompt_alone(
    studio: Studio, variant: str, needed: str
) -> None:
    make_checkpoint("special", variant=variant)
    before = on_record()
    with pytest.raises(InvalidField) as refusal:
        studio.submit(checkpoint="special")
    assert str(refusal.value) == (f"checkpoint special makes no image from a prompt alone: it needs {needed}")
    assert on_record() == before


def test_a_checkpoint_that_may_be_given_pictures_takes_a_prompt_alone(studio: Studio) -> None:
    """Kontext edits what it is given, and makes images like its family where it is given nothing."""
    defaults = {"steps": 4, "guidance_scale": 3.5, "sampler": "euler"}
    make_checkpoint("special", family="flux", variant="kontext", defaults=defaults)
    assert studio.submit(checkpoint="special").checkpoint.variant == "kontext"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"loras": (LoraWish(name="ink"),)}, "loras"),
        ({"vae": "bright"}, "vae"),
        ({"embeddings": ("calm",)}, "embeddings"),
    ],
)
def test_a_family_that_takes_no_adapters_says_so_at_once(
    studio: Studio, fields: dict[str, object], field: str
) -> None:
    for name, kind in (("ink", "lora"), ("bright", "vae"), ("calm", "embedding")):
        make_adapter(name, kind=kind, family="sana")
    make_checkpoint("sana", family="sana")
    before = on_record()
    with pytest.raises(InvalidField) as refusal:
        studio.submit(checkpoint="sana", **fields)
    assert str(refusal.value) == f"{field} cannot be combined with the model sana (sana)"
    assert on_record() == before


def test_one_lora_under_two_names_is_refused(studio: Studio) -> None:
    make_adapter("ink", aliases=["ink-style"])
    before = on_record()
    with pytest.raises(InvalidField) as refusal:
        studio.submit(loras=(LoraWish(name="ink"), LoraWish(name="ink-style")))
    assert str(refusal.value) == "loras must name each LoRA once, by name or by alias"
    assert on_record() == before


def test_two_embeddings_that_go_by_one_word_are_refused(studio: Studio) -> None:
    make_adapter("calm", kind="embedding", trigger_words=["zen"])
    make_adapter("quiet", kind="embedding", trigger_words=["zen"])
    with pytest.raises(InvalidField) as refusal:
        studio.submit("a zen lake", embeddings=("calm", "quiet"))
    assert str(refusal.value) == "embeddings must go by different words in the prompts"


def test_a_hyphen_belongs_to_the_word(studio: Studio) -> None:
    make_adapter("calm", kind="embedding", trigger_words=["zen"])
    studio.submit("a zen-like lake", embeddings=("calm",))
    assert [ref.token for ref in handed_over(claim_one()).embeddings] == ["calm"]


def test_the_autoencoder_of_sd1_fits_sd2_and_not_the_other_way_round(studio: Studio) -> None:
    make_checkpoint("two", family="sd2")
    make_adapter("bright", kind="vae")
    make_adapter("bright2", kind="vae", family="sd2")
    assert studio.submit(checkpoint="two", vae="bright").pk
    with pytest.raises(FamilyMismatch):
        studio.submit(vae="bright2")
