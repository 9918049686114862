"""Prompts with embeddings are encoded as diffusers' load_textual_inversion does, and nothing shared changes.

Tolerance: 1e-6 of the largest value in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gpu_runtime.adapters.bank import AdapterBank
from gpu_runtime.adapters.embeddings import LoadedEmbedding, Word, read_embedding, vocabulary_of
from gpu_runtime.adapters.text import TextAdapters
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.messages import EmbeddingRef, ImageRequest, RequestFailed
from gpu_runtime.prompts.clip import ClipReader
from gpu_runtime.prompts.reading import Reading
from gpu_runtime.tiny.files import write_safetensors
from gpu_runtime.tiny.pipelines import tiny_pipeline
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.lora_reference import plain_pipeline, render_plainly
from tests.gpu_runtime.rendering import assert_equal, relative_error, render

TOLERANCE = 1e-6
SIDE = 64

PROMPTS = (
    "photo of charm",
    "charm",
    "charm, charm and a dog with charm",
    "a cat",
    "many words " * 36 + "charm charm charm",
    "many words " * 60 + "charm",
    "",
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def sd15() -> Any:
    return tiny_pipeline("sd15")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def width_of(encoder: Any) -> int:
    return int(encoder.get_input_embeddings().weight.shape[1])


def write(file: Path, tensors: Mapping[str, Tensor]) -> Path:
    write_safetensors(tensors, file, metadata={"format": "pt"})
    return file


def ref(file: Path, token: str = "charm") -> EmbeddingRef:
    return EmbeddingRef(name="the charm", token=token, path=str(file), digest=str(file))


def word(vectors: Tensor, token: str = "charm", *, encoder: str = "") -> Word:
    loaded = LoadedEmbedding(name=token, digest=token, size_bytes=vectors.nbytes, vectors={encoder: vectors})
    return Word(token, loaded)


def encode(pipeline: Any, prompt: str, words: Sequence[Word]) -> Tensor:
    with torch.inference_mode():
        return reader(pipeline, words).encode(prompt, pick=lambda output: output[0]).tokens


def reader(pipeline: Any, words: Sequence[Word]) -> ClipReader:
    """Cuts prompts as the plain pipeline does."""
    reading = Reading(TextAdapters(words=tuple(words)))
    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    length = tokenizer.model_max_length
    return ClipReader(tokenizer, encoder, "text_encoder", reading, length, is_cut=True)


def encode_plainly(pipeline: Any, prompt: str) -> Tensor:
    with torch.inference_mode():
        hidden: Tensor = pipeline.encode_prompt(prompt, "cpu", 1, False)[0]
    return hidden


@pytest.mark.parametrize("vectors", [1, 3])
@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_encoding_equals_the_plain_pipeline(
    prompt: str, vectors: int, checkpoints: FamilyCheckpoints
) -> None:
    pipeline = plain_pipeline(checkpoints.plain("sd15"))
    own = numbers(vectors, width_of(pipeline.text_encoder))
    ours, without = encode(pipeline, prompt, [word(own)]), encode_plainly(pipeline, prompt)
    pipeline.load_textual_inversion({"charm": own}, token="charm")
    theirs = encode_plainly(pipeline, prompt)
    assert relative_error(ours, theirs) <= TOLERANCE
    # The control: the word matters, unless it stands where the prompt is cut already.
    is_read = "charm" in prompt and prompt.count("words") < 60
    assert (relative_error(without, theirs) > 0.01) == is_read


def test_two_embeddings_in_one_prompt(checkpoints: FamilyCheckpoints) -> None:
    pipeline = plain_pipeline(checkpoints.plain("sd15"))
    width = width_of(pipeline.text_encoder)
    first, second = numbers(2, width, seed=1), numbers(3, width, seed=2)
    prompt = "<one> beside two-of-them, <one>"
    ours = encode(pipeline, prompt, [word(first, "<one>"), word(second, "two-of-them")])
    pipeline.load_textual_inversion([{"a": first}, {"b": second}], token=["<one>", "two-of-them"])
    assert relative_error(ours, encode_plainly(pipeline, prompt)) <= TOLERANCE


@pytest.mark.parametrize(
    ("prompt", "matches"),
    [
        ("charm", 1),
        ("(charm:1.2), charm.", 2),
        ("Charm", 0),
        ("charming", 0),
        ("lucky_charm charm2", 0),
        ("charm-bracelet", 0),
        ("charm\ncharm", 2),
    ],
)
def test_only_the_whole_word_in_its_own_case_is_replaced(prompt: str, matches: int, sd15: Any) -> None:
    own = numbers(2, width_of(sd15.text_encoder))
    vocabulary = vocabulary_of(sd15.text_encoder, "text_encoder", [word(own)])
    ours = [found for found in vocabulary.ids(sd15.tokenizer, prompt) if found >= vocabulary.size]
    assert ours == [vocabulary.size, vocabulary.size + 1] * matches


def test_the_longest_word_wins(sd15: Any) -> None:
    width = width_of(sd15.text_encoder)
    words = [word(numbers(1, width), "bad hands"), word(numbers(1, width), "bad hands five")]
    vocabulary = vocabulary_of(sd15.text_encoder, "text_encoder", words)
    ours = [
        found for found in vocabulary.ids(sd15.tokenizer, "no bad hands five") if found >= vocabulary.size
    ]
    assert ours == [vocabulary.size + 1]


def test_nothing_shared_changes(sd15: Any) -> None:
    encoder, tokenizer = sd15.text_encoder, sd15.tokenizer
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    plain, size = encode(sd15, "photo of charm", []), len(tokenizer)
    encode(sd15, "photo of charm", [word(numbers(2, width_of(encoder)))])
    assert len(tokenizer) == size
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(encode(sd15, "photo of charm", []), plain)
    embeddings = encoder.get_input_embeddings()
    assert not embeddings._forward_hooks
    assert not embeddings._forward_pre_hooks


def test_an_encoder_that_fails_keeps_no_hook(sd15: Any) -> None:
    failing = reader(sd15, [word(numbers(1, width_of(sd15.text_encoder)))])
    with pytest.raises(TypeError):
        failing.encode("charm", pick=lambda output: output[0], input_ids=3)
    embeddings = sd15.text_encoder.get_input_embeddings()
    assert not embeddings._forward_hooks
    assert not embeddings._forward_pre_hooks


def test_another_width_is_refused_by_name(sd15: Any) -> None:
    with pytest.raises(
        UnsupportedCombination, match=r"embedding charm has vectors of 5 values, text_encoder takes 12"
    ):
        encode(sd15, "without the word", [word(numbers(1, 5))])
    with pytest.raises(UnsupportedCombination, match="embedding charm has no vectors for text_encoder"):
        encode(sd15, "without the word", [word(numbers(1, 12), encoder="text_encoder_2")])


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"emb_params": (3, 12)}, {"": 3}),
        ({"string_to_param.*": (2, 12)}, {"": 2}),
        ({"<charm>": (12,)}, {"": 1}),
        ({"<charm>": (4, 12)}, {"": 4}),
        ({"clip_l": (2, 12), "clip_g": (2, 20)}, {"text_encoder": 2, "text_encoder_2": 2}),
        ({"clip_g": (5, 20)}, {"text_encoder_2": 5}),
    ],
)
def test_formats(tensors: dict[str, tuple[int, ...]], expected: dict[str, int], tmp_path: Path) -> None:
    written = {name: numbers(*shape).to(torch.float16) for name, shape in tensors.items()}
    found = read_embedding("charm", str(write(tmp_path / "e", written)), "digest")
    assert {encoder: len(vectors) for encoder, vectors in found.vectors.items()} == expected
    for vectors, source in zip(found.vectors.values(), written.values(), strict=True):
        assert torch.equal(vectors, source.float().reshape(len(vectors), -1))


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"first": (2, 12), "second": (2, 12)}, "none of which is known"),
        ({"emb_params": (2, 3, 12)}, r"a tensor of shape \(2, 3, 12\)"),
        ({"emb_params": (0, 12)}, r"a tensor of shape \(0, 12\)"),
    ],
)
def test_other_files_are_damage(tensors: dict[str, tuple[int, ...]], reason: str, tmp_path: Path) -> None:
    file = write(tmp_path / "e", {name: numbers(*shape) for name, shape in tensors.items()})
    with pytest.raises(WeightsCorrupt, match=reason):
        read_embedding("charm", str(file), "digest")


def test_missing_files_and_odd_numbers_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match=r"embedding charm: .*absent is not there"):
        read_embedding("charm", str(tmp_path / "absent"), "digest")
    file = write(tmp_path / "e", {"emb_params": torch.full((1, 12), torch.inf)})
    with pytest.raises(WeightsCorrupt, match="not finite"):
        read_embedding("charm", str(file), "digest")


def test_the_bank_reads_an_embedding_once(tmp_path: Path) -> None:
    bank, file = AdapterBank(2**20), write(tmp_path / "e", {"emb_params": numbers(2, 12)})
    first = bank.embedding(ref(file))
    file.unlink()
    assert bank.embedding(ref(file, token="another")) is first
    assert bank.size_bytes == 2 * 12 * 4


def styled(checkpoints: FamilyCheckpoints, family: str, *refs: EmbeddingRef, **changes: Any) -> ImageRequest:
    sides = {"width": SIDE, "height": SIDE, "output_width": SIDE, "output_height": SIDE}
    fields = {"prompt": "photo of charm", "negative_prompt": "no charm", "steps": 2, **sides, **changes}
    return replace(image_request("it", checkpoints.plain(family), **fields), embeddings=refs)


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_image_equals_the_plain_pipeline(family: str, checkpoints: FamilyCheckpoints, tmp_path: Path) -> None:
    """In positive and negative prompt; sdxl's vectors for each of its encoders."""
    pipeline = plain_pipeline(checkpoints.plain(family))
    tensors = {"clip_l": numbers(2, width_of(pipeline.text_encoder), seed=1)}
    if family == "sdxl":
        tensors["clip_g"] = numbers(2, width_of(pipeline.text_encoder_2), seed=2)
    file = write(tmp_path / "e", tensors)
    request = styled(checkpoints, family, ref(file))
    ours = render([request])["it/0"]
    without = render([replace(request, embeddings=())])["it/0"]
    pipeline.load_textual_inversion(
        {"charm": tensors["clip_l"]},
        token="charm",
        text_encoder=pipeline.text_encoder,
        tokenizer=pipeline.tokenizer,
    )
    if family == "sdxl":
        pipeline.load_textual_inversion(
            {"charm": tensors["clip_g"]},
            token="charm",
            text_encoder=pipeline.text_encoder_2,
            tokenizer=pipeline.tokenizer_2,
        )
    assert_equal(ours, render_plainly(pipeline, request))
    assert relative_error(ours.latents, without.latents) > 1e-3, "the control: the word matters"


def test_requests_with_and_without_the_embedding_share_a_batch(
    checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    """The same prompt means different things to different requests, kept encodings included."""
    width = width_of(plain_pipeline(checkpoints.plain("sd15")).text_encoder)
    file, other = (write(tmp_path / f"{n}", {"emb_params": numbers(1, width, seed=n)}) for n in (1, 2))
    request = styled(checkpoints, "sd15")
    chosen: Mapping[str, tuple[EmbeddingRef, ...]] = {"a": (), "b": (ref(file),), "c": (ref(other),)}
    named = [replace(request, request_id=name, embeddings=refs) for name, refs in chosen.items()]
    together = render(named)
    for each in named:
        alone = render([each])[f"{each.request_id}/0"]
        assert relative_error(together[f"{each.request_id}/0"].latents, alone.latents) <= 1e-5
    assert relative_error(together["a/0"].latents, together["b/0"].latents) > 1e-3
    assert relative_error(together["c/0"].latents, together["b/0"].latents) > 1e-3


def test_an_embedding_of_another_family_fails_its_request(
    checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    file = write(tmp_path / "e", {"emb_params": numbers(1, 33)})
    engine = Engine(EngineConfig(check_invariants=True))
    outcome = run_all(engine, [styled(checkpoints, "sd15", ref(file))])
    engine.close()
    final = outcome.final("it")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, UnsupportedCombination)
    assert str(final.fault) == "embedding the charm has vectors of 33 values, text_encoder takes 12"
