"""Long and weighted prompts, skipped layers: what the denoiser reads, and images of them in company.

References are made of the plain encoders and pipelines. Tolerance: 1e-6 of the largest value for encodings,
as in rendering.py for images.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.pre_tokenizers import Metaspace
from torch import Tensor
from transformers import CLIPTextModel

from gpu_runtime.adapters.embeddings import LoadedEmbedding, Word
from gpu_runtime.adapters.text import TextAdapters
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.messages import ImageRequest, PromptStyle
from gpu_runtime.prompts.clip import MAX_CHUNKS, ClipReader, hidden_layer, weighted
from gpu_runtime.prompts.reading import Reading
from gpu_runtime.prompts.t5 import encode_t5
from gpu_runtime.tiny.pipelines import tiny_pipeline
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.lora_reference import plain_pipeline, render_plainly
from tests.gpu_runtime.rendering import assert_equal, relative_error, render
from tests.gpu_runtime.weight_store import TinyStore

TOLERANCE = 1e-6
LENGTH = 77
WORDS = ["red", "green", "blue", "cat", "dog", "house", "tree", "stone"]


def phrase(count: int) -> str:
    return " ".join(WORDS[index % len(WORDS)] for index in range(count))


@pytest.fixture(scope="module")
def sd15() -> Any:
    pipeline = tiny_pipeline("sd15")
    # Trained encoders have a mean, which weights must keep; seeded ones end in a norm that takes it away.
    pipeline.text_encoder.final_layer_norm.bias.data += 0.3
    return pipeline


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("families"))


def reader(pipeline: Any, **settings: Any) -> ClipReader:
    return ClipReader(pipeline.tokenizer, pipeline.text_encoder, "text_encoder", Reading(**settings), LENGTH)


def last(output: Any) -> Tensor:
    hidden: Tensor = output[0]
    return hidden


def encode(pipeline: Any, text: str, **settings: Any) -> Tensor:
    with torch.inference_mode():
        return reader(pipeline, **settings).encode(text, pick=last).tokens


def plainly(pipeline: Any, text: str) -> Tensor:
    tokens = pipeline.tokenizer(text, padding="max_length", max_length=LENGTH, return_tensors="pt")
    assert tokens.input_ids.shape == (1, LENGTH)
    with torch.inference_mode():
        return last(pipeline.text_encoder(tokens.input_ids))


def tokens_of(pipeline: Any, text: str) -> list[int]:
    ids: list[int] = pipeline.tokenizer(text, add_special_tokens=False).input_ids
    return ids


def test_long_prompt_is_read_to_its_end_chunk_by_chunk(sd15: Any) -> None:
    text = phrase(200)
    size = len(tokens_of(sd15, phrase(1)))
    assert size == 1, "the test counts words"
    expected = [plainly(sd15, " ".join(text.split()[start : start + 75])) for start in (0, 75, 150)]
    assert relative_error(encode(sd15, text), torch.cat(expected, dim=1)) <= TOLERANCE


def test_chunk_ends_at_a_comma_that_is_near(sd15: Any) -> None:
    before, after = phrase(60) + ",", phrase(40)
    expected = torch.cat([plainly(sd15, before), plainly(sd15, after)], dim=1)
    assert relative_error(encode(sd15, f"{before} {after}"), expected) <= TOLERANCE


def test_chunk_is_full_where_no_comma_is_near(sd15: Any) -> None:
    text = phrase(20) + ", " + phrase(80)
    words = text.split()
    expected = torch.cat([plainly(sd15, " ".join(words[:74])), plainly(sd15, " ".join(words[74:]))], dim=1)
    assert relative_error(encode(sd15, text), expected) <= TOLERANCE


def test_word_of_several_vectors_is_not_torn(sd15: Any) -> None:
    vectors = torch.zeros(10, sd15.text_encoder.config.hidden_size)
    loaded = LoadedEmbedding(name="x", digest="x", size_bytes=1, vectors={"": vectors})
    adapters = TextAdapters(words=(Word("mine", loaded),))
    found = reader(sd15, adapters=adapters).chunks(f"{phrase(70)} mine {phrase(70)}")
    assert [int(chunk.mask.sum()) - 2 for chunk in found] == [70, 75, 5]
    longer = replace(loaded, vectors={"": vectors.repeat(8, 1)})
    adapters = TextAdapters(words=(Word("mine", longer),))
    found = reader(sd15, adapters=adapters).chunks("red mine red")
    assert [int(chunk.mask.sum()) - 2 for chunk in found] == [1, 75, 6]


def test_more_chunks_than_anybody_needs_are_refused(sd15: Any) -> None:
    breaks = reader(sd15, style=PromptStyle.WEIGHTED)
    assert len(breaks.chunks("BREAK " * (MAX_CHUNKS - 1))) == MAX_CHUNKS
    with pytest.raises(UnsupportedCombination, match=f"of {MAX_CHUNKS + 1} chunks of 75 tokens is too long"):
        breaks.chunks("BREAK " * MAX_CHUNKS)


def test_shorter_prompt_is_filled_up_with_empty_chunks(sd15: Any) -> None:
    with torch.inference_mode():
        ours = reader(sd15).encode("red cat", pick=last, chunks=3).tokens
    expected = torch.cat([plainly(sd15, text) for text in ("red cat", "", "")], dim=1)
    assert relative_error(ours, expected) <= TOLERANCE


def test_break_begins_a_chunk(sd15: Any) -> None:
    ours = encode(sd15, "red cat BREAK blue dog", style=PromptStyle.WEIGHTED)
    expected = torch.cat([plainly(sd15, "red cat"), plainly(sd15, "blue dog")], dim=1)
    assert relative_error(ours, expected) <= TOLERANCE


def test_weights_multiply_tokens_and_keep_the_mean(sd15: Any) -> None:
    ours = encode(sd15, "a (red:1.5) [cat]", style=PromptStyle.WEIGHTED)
    plain = plainly(sd15, "a red cat")
    weights = torch.ones(LENGTH)
    weights[2], weights[3] = 1.5, 1 / 1.1
    scaled = plain * weights[None, :, None]
    expected = scaled * (plain.mean() / scaled.mean())
    assert relative_error(ours, expected) <= TOLERANCE
    assert relative_error(ours, plain) > 0.01


def test_brackets_without_weights_change_nothing(sd15: Any) -> None:
    plain = encode(sd15, "a red cat")
    assert torch.equal(encode(sd15, "a (red:1) cat", style=PromptStyle.WEIGHTED), plain)
    assert torch.equal(encode(sd15, "a red cat", style=PromptStyle.WEIGHTED), plain)


def test_mean_near_zero_blows_nothing_up() -> None:
    hidden = torch.tensor([[[1.0, -1.0], [2.0, -2.0]]])
    assert torch.equal(weighted(hidden, torch.tensor([[1.0, 2.0]])), hidden * torch.tensor([[[1.0], [2.0]]]))


@pytest.mark.parametrize("counts_spaces", [False, True])
def test_t5_reads_weights_too(counts_spaces: bool) -> None:
    pipeline = tiny_pipeline("flux")
    tokenizer, encoder = pipeline.tokenizer_2, pipeline.text_encoder_2
    if counts_spaces:
        # As in tokenizer files that older converters wrote: a word's token begins at the space before it.
        tokenizer.backend_tokenizer.pre_tokenizer = Metaspace()

    def read(text: str, style: PromptStyle) -> Tensor:
        with torch.inference_mode():
            return encode_t5(tokenizer, encoder, "text_encoder_2", text, Reading(style=style), length=64)

    plain = read("a red cat", PromptStyle.PLAIN)
    assert torch.equal(read("a (red:1) cat", PromptStyle.WEIGHTED), plain)
    ours = read("a (red:1.5) cat", PromptStyle.WEIGHTED)
    changed = (ours / plain)[0].mean(dim=-1)
    usual = changed[0]
    offsets = tokenizer("a red cat", return_offsets_mapping=True).offset_mapping
    for position, (start, stop) in enumerate(offsets):
        expected = 1.5 if 2 < stop <= 5 and stop > start else 1.0
        assert float(changed[position] / usual) == pytest.approx(expected, rel=1e-4)


def test_skipping_more_layers_than_there_are_is_refused(sd15: Any) -> None:
    with torch.inference_mode():
        output = sd15.text_encoder(torch.tensor([[0, 1]]), output_hidden_states=True)
    with pytest.raises(Exception, match="clip_skip goes beyond the"):
        hidden_layer(output, 12)


Cases = dict[str, dict[str, Any]]

UNET_CASES: Cases = {
    "short": {"prompt": "a red cat"},
    "skipped": {"prompt": "a red cat", "clip_skip": 1},
    "long": {"prompt": phrase(100)},
    "long negative": {"prompt": "a red cat", "negative_prompt": phrase(160)},
    "weighted": {"prompt": "a (red:1.4) cat", "prompt_style": PromptStyle.WEIGHTED},
}


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_images_of_long_weighted_and_skipping_prompts_in_company(
    family: str, checkpoints: FamilyCheckpoints
) -> None:
    """The reference pipeline is given the embeddings, since it neither weighs nor reads long prompts."""
    checkpoint = checkpoints.plain(family)
    requests = [
        image_request(name, checkpoint, width=64, height=64, steps=2, seeds=(index,), **fields)
        for index, (name, fields) in enumerate(UNET_CASES.items())
    ]
    rendered = render(requests, head_start=1)
    pipeline = plain_pipeline(checkpoint)
    for request in requests:
        assert_equal(
            rendered[f"{request.request_id}/0"],
            render_plainly(pipeline, request, **_given(pipeline, request)),
        )


def _given(pipeline: Any, request: ImageRequest) -> dict[str, Any]:
    """Arguments of the plain pipeline in place of what it cannot read by itself."""
    if request.request_id == "short":
        return {}
    if request.request_id == "skipped" and hasattr(pipeline, "text_encoder_2"):
        return {"clip_skip": request.clip_skip}
    if request.request_id == "skipped":
        # The plain pipeline's own clip_skip looks for a layer where transformers 5 no longer has it.
        return {
            "prompt": None,
            "negative_prompt": None,
            "prompt_embeds": _skipped(pipeline, request.prompt),
            "negative_prompt_embeds": _encoded(pipeline, request.negative_prompt)[0],
        }
    texts = (request.prompt, request.negative_prompt)
    sections: list[list[str]] = []
    for text in texts:
        words = text.replace("(red:1.4)", "red").split()
        sections.append([" ".join(words[start : start + 75]) for start in range(0, max(1, len(words)), 75)])
    count = max(map(len, sections))
    embeds = [
        [_encoded(pipeline, chunk) for chunk in chunks + [""] * (count - len(chunks))] for chunks in sections
    ]
    tokens = [torch.cat([chunk[0] for chunk in chunks], dim=1) for chunks in embeds]
    if "1.4" in request.prompt:
        tokens[0] = _raised(pipeline, tokens[0])
    given = {
        "prompt": None,
        "negative_prompt": None,
        "prompt_embeds": tokens[0],
        "negative_prompt_embeds": tokens[1],
    }
    if hasattr(pipeline, "text_encoder_2"):
        given["pooled_prompt_embeds"], given["negative_pooled_prompt_embeds"] = (c[0][1] for c in embeds)
    return given


def _skipped(pipeline: Any, text: str) -> Tensor:
    encoder = pipeline.text_encoder
    ids = pipeline.tokenizer(text, padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
    with torch.inference_mode():
        layers = encoder(ids, output_hidden_states=True).hidden_states
        normed: Tensor = encoder.final_layer_norm(layers[-2])
    return normed


def _encoded(pipeline: Any, text: str) -> tuple[Tensor, Tensor | None]:
    with torch.inference_mode():
        found = pipeline.encode_prompt(
            text, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    return (found[0], found[2]) if hasattr(pipeline, "text_encoder_2") else (found[0], None)


def _raised(pipeline: Any, hidden: Tensor) -> Tensor:
    """The third token, "red", at 1.4; each encoder's part keeps its mean."""
    widths = [pipeline.text_encoder.config.hidden_size]
    if hasattr(pipeline, "text_encoder_2"):
        widths.append(pipeline.text_encoder_2.config.hidden_size)
    weights = torch.ones(1, hidden.shape[1])
    weights[0, 2] = 1.4
    return torch.cat([weighted(part, weights) for part in hidden.split(widths, dim=-1)], dim=-1)


def test_checkpoints_with_the_same_encoders_share_what_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TinyStore(tmp_path)
    first, alike = store.checkpoint("first", seed=1, base=7), store.checkpoint("alike", seed=2, base=7)
    other = store.checkpoint("other", seed=3)
    read: list[int] = []
    forward = CLIPTextModel.forward
    monkeypatch.setattr(
        CLIPTextModel,
        "forward",
        lambda self, *args, **options: read.append(1) or forward(self, *args, **options),
    )
    engine = Engine(EngineConfig())
    counts = []
    for number, checkpoint in enumerate((first, alike, first, other)):
        run_all(
            engine, [image_request(str(number), checkpoint, prompt="a cat", negative_prompt="fog", steps=1)]
        )
        counts.append(len(read))
    engine.close()
    assert counts == [2, 2, 2, 4]
