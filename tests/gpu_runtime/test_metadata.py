"""Settings in files of AUTOMATIC1111, ComfyUI, SwarmUI, InvokeAI and NovelAI, and in hostile ones."""

from __future__ import annotations

import json
import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gpu_runtime.metadata.infotext import NEGATIVE, parse_infotext, write_infotext
from gpu_runtime.metadata.png import MOST_TEXT_BYTES, SIGNATURE, chunk, read_texts
from gpu_runtime.metadata.reading import ReadSettings, read_settings

A1111 = (
    "masterpiece, (lighthouse:1.2), <lora:sea:0.8>\nat dusk: calm, blue\n"
    "Negative prompt: fog, (blurry:1.3)\nworst quality\n"
    "Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 3462, Size: 512x768, "
    'Model hash: 6ce0161689, Model: v1-5-pruned, Denoising strength: 0.7, Lora hashes: "sea: 1a2b, sky: 3c", '
    'Version: v1.10.1, Template: "a \\"quoted\\", one", Hires upscale: 2, Hires upscaler: R-ESRGAN 4x+'
)


def png(**texts: str) -> bytes:
    """As Pillow writes it, which these programs use."""
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def with_exif(comment: bytes | None, *, format: str = "JPEG", **tags: str) -> bytes:
    exif = Image.Exif()
    if comment is not None:
        exif.get_ifd(0x8769)[0x9286] = comment
    for tag, text in tags.items():
        exif[int(tag.removeprefix("tag"), 16)] = text
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format, exif=exif.tobytes())
    return buffer.getvalue()


def a1111_comment(text: str, order: str = "utf-16-be") -> bytes:
    return b"UNICODE\0" + text.encode(order)


def test_infotext_is_read_as_a1111_reads_it() -> None:
    found = parse_infotext(A1111)
    assert found.prompt == "masterpiece, (lighthouse:1.2), <lora:sea:0.8>\nat dusk: calm, blue"
    assert found.negative_prompt == "fog, (blurry:1.3)\nworst quality"
    assert dict(found.settings) == {
        "Steps": "25",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": "6.5",
        "Seed": "3462",
        "Size": "512x768",
        "Model hash": "6ce0161689",
        "Model": "v1-5-pruned",
        "Denoising strength": "0.7",
        "Lora hashes": "sea: 1a2b, sky: 3c",
        "Version": "v1.10.1",
        "Template": 'a "quoted", one',
        "Hires upscale": "2",
        "Hires upscaler": "R-ESRGAN 4x+",
    }


@pytest.mark.parametrize(
    "text", ["a cat", "portrait of: a cat, b: c", "a: 1, b: 2", "", "  \n ", "(a:1.2), (b:1.3), (c:1.1)"]
)
def test_text_without_settings_is_all_prompt(text: str) -> None:
    found = parse_infotext(text)
    assert found.prompt == text.strip()
    assert not found.settings


def test_settings_without_a_prompt_and_without_a_negative_one() -> None:
    line = "Steps: 4, Seed: 1, Size: 8x8"
    assert parse_infotext(line).settings["Seed"] == "1"
    assert parse_infotext(line).prompt == ""
    assert parse_infotext(f"cat\n{line}").negative_prompt == ""
    assert parse_infotext(f"Negative prompt: dog\n{line}").negative_prompt == "dog"


def test_settings_that_say_nothing_are_left_out() -> None:
    text = write_infotext(prompt="a", settings={"Steps": 4, "Seed": None, "Model": "", "CFG scale": 7.0})
    assert text == "a\nSteps: 4, CFG scale: 7"


@pytest.mark.parametrize("name", ["", "a:b", "a,b", " a", "a\nb", '"a"'])
def test_name_that_could_not_be_read_back_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a setting"):
        write_infotext(prompt="", settings={name: 1})


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_ /-]{0,12}[A-Za-z0-9_]", fullmatch=True)


def is_readable(prompt: str) -> bool:
    """The format has no escape for prompts with such a line, and one line break."""
    lines = prompt.split("\n")
    return "\r" not in prompt and not any(line.lstrip().startswith(NEGATIVE) for line in lines)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT, ANY_TEXT, st.dictionaries(NAMES, ANY_TEXT.filter(bool), max_size=5))
def test_what_is_written_is_read_back(prompt: str, negative: str, others: dict[str, str]) -> None:
    assume(is_readable(prompt) and "\r" not in negative)
    text = write_infotext(prompt=prompt, negative_prompt=negative, settings={"Steps": 20, **others})
    found = parse_infotext(text)
    assert found.prompt == prompt.strip()
    assert found.negative_prompt == negative.strip()
    assert dict(found.settings) == {"Steps": "20", **others}


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT)
def test_any_text_is_read(text: str) -> None:
    parse_infotext(text)
    read_settings(png(parameters=text, prompt=text))


@pytest.mark.parametrize(
    "data",
    [
        png(parameters=A1111),
        png(parameters=A1111, prompt=json.dumps({"1": {"class_type": "KSampler", "inputs": {}}})),
        with_exif(a1111_comment(A1111)),
        with_exif(a1111_comment(A1111, "utf-16-le")),
        with_exif(b"ASCII\0\0\0" + A1111.encode()),
        with_exif(a1111_comment(A1111), format="WEBP"),
        with_exif(None, tag010E=A1111),
    ],
    ids=["png", "png with a graph", "jpeg", "little-endian", "ascii", "webp", "description"],
)
def test_a1111_files(data: bytes) -> None:
    found = read_settings(data)
    assert found.source == "a1111"
    assert found.infotext == A1111
    assert found.settings["Prompt"].startswith("masterpiece")
    assert found.settings["Negative prompt"] == "fog, (blurry:1.3)\nworst quality"
    assert found.settings["CFG scale"] == "6.5"


def graph(**changes: Any) -> dict[str, Any]:
    """The graph that ComfyUI opens with."""
    nodes: dict[str, Any] = {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 156680208700286,
                "steps": 20,
                "cfg": 8.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a bottle, purple", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "watermark", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
    }
    return {**nodes, **changes}


def test_comfyui_graph() -> None:
    found = read_settings(png(prompt=json.dumps(graph()), workflow="{}"))
    assert found.source == "comfyui"
    assert dict(found.settings) == {
        "Prompt": "a bottle, purple",
        "Negative prompt": "watermark",
        "Steps": "20",
        "Sampler": "euler",
        "Schedule type": "normal",
        "CFG scale": "8.0",
        "Seed": "156680208700286",
        "Model": "v1-5.safetensors",
        "Size": "512x768",
    }
    assert parse_infotext(found.infotext).negative_prompt == "watermark"
    assert parse_infotext(found.infotext).settings["Size"] == "512x768"


def test_comfyui_prompts_behind_other_nodes() -> None:
    controlled = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {"positive": ["6", 0], "negative": ["7", 0], "strength": 1.0, "image": ["11", 0]},
    }
    sampler = graph()["3"]["inputs"] | {"positive": ["10", 0], "negative": ["10", 1], "denoise": 0.5}
    nodes = graph(
        **{
            "3": {"class_type": "KSamplerAdvanced", "inputs": sampler | {"noise_seed": 0}},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["12", 0], "clip": ["4", 1]}},
            "10": controlled,
            "11": {"class_type": "LoadImage", "inputs": {"image": "dog.png"}},
            "12": {"class_type": "PrimitiveString", "inputs": {"value": "from a node"}},
        }
    )
    found = read_settings(png(prompt=json.dumps(nodes))).settings
    assert found["Prompt"] == "from a node"
    assert found["Negative prompt"] == "watermark"
    assert found["Denoising strength"] == "0.5"


def test_comfyui_custom_sampler_of_flux() -> None:
    nodes = {
        "1": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["2", 0],
                "guider": ["3", 0],
                "sampler": ["4", 0],
                "sigmas": ["5", 0],
                "latent_image": ["6", 0],
            },
        },
        "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 0}},
        "3": {"class_type": "BasicGuider", "inputs": {"model": ["7", 0], "conditioning": ["8", 0]}},
        "4": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "5": {
            "class_type": "BasicScheduler",
            "inputs": {"scheduler": "simple", "steps": 4, "denoise": 1, "model": ["7", 0]},
        },
        "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 640}},
        "7": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-schnell.safetensors"}},
        "8": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["9", 0]}},
        "9": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["10", 0]}},
        "10": {"class_type": "DualCLIPLoader", "inputs": {"clip_name1": "t5"}},
    }
    found = read_settings(png(prompt=json.dumps(nodes))).settings
    assert dict(found) == {
        "Prompt": "a fox",
        "Steps": "4",
        "Sampler": "euler",
        "Schedule type": "simple",
        "Distilled CFG Scale": "3.5",
        "Seed": "0",
        "Model": "flux1-schnell.safetensors",
        "Size": "1024x640",
    }


def test_comfyui_webp_keeps_its_graph_in_the_tags_of_a_camera() -> None:
    data = with_exif(None, format="WEBP", tag0110="prompt:" + json.dumps(graph()), tag010F="workflow:{}")
    assert read_settings(data).source == "comfyui"


def test_swarmui_in_png_and_jpeg() -> None:
    values = {"prompt": "a fox", "negativeprompt": "", "model": "m", "seed": 5, "steps": 20, "cfgscale": 7.5}
    text = json.dumps({"sui_image_params": {**values, "width": 512, "height": 640}, "sui_extra_data": {}})
    for data in (png(parameters=text), with_exif(a1111_comment(text))):
        found = read_settings(data)
        assert found.source == "swarmui"
        assert dict(found.settings) == {
            "Prompt": "a fox",
            "Steps": "20",
            "CFG scale": "7.5",
            "Seed": "5",
            "Model": "m",
            "Size": "512x640",
        }


def test_invokeai() -> None:
    values = {
        "generation_mode": "txt2img",
        "positive_prompt": "a fox",
        "negative_prompt": "fog",
        "width": 1024,
        "height": 768,
        "seed": 12,
        "cfg_scale": 7.5,
        "steps": 30,
        "scheduler": "euler",
        "model": {"key": "k", "hash": "h", "name": "juggernaut", "base": "sdxl", "type": "main"},
    }
    found = read_settings(png(invokeai_metadata=json.dumps(values)))
    assert found.source == "invokeai"
    assert found.settings["Model"] == "juggernaut"
    assert found.settings["Size"] == "1024x768"
    assert found.infotext.startswith("a fox\nNegative prompt: fog\nSteps: 30, Sampler: euler, CFG scale: 7.5")


def test_novelai() -> None:
    comment = {"steps": 28, "width": 832, "height": 1216, "scale": 5.0, "seed": 1, "uc": "lowres"}
    found = read_settings(
        png(Software="NovelAI", Description="a fox", Comment=json.dumps(comment), Title="AI generated image")
    )
    assert found.source == "novelai"
    assert (found.settings["Prompt"], found.settings["Negative prompt"]) == ("a fox", "lowres")


def broken(data: bytes) -> bytes:
    return data[:40] + b"\xff" + data[41:]


PATIENCE_S = 120
"""What these files could take without the guards is hours, or more memory than there is."""
BOMB = zlib.compress(bytes(MOST_TEXT_BYTES + 1), 9)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html></html>",
        SIGNATURE,
        SIGNATURE + b"\xff\xff\xff\xfftEXt",
        b"\xff\xd8\xff\xe1",
        b"RIFF\0\0\0\0WEBP",
        png(),
        png(prompt="[]", invokeai_metadata="null", Comment="1", Software="NovelAI"),
        png(prompt="[" * 100_000),
        png(prompt=json.dumps({"1": {"class_type": "KSampler", "inputs": []}})),
        png(prompt=json.dumps({"1": {"class_type": "KSampler", "inputs": {"positive": ["1", 0]}}})),
        png(prompt=json.dumps(graph(**{"3": {"class_type": 5, "inputs": {"positive": [["x"], 0]}}}))),
        SIGNATURE + chunk(b"zTXt", b"parameters\0\0" + BOMB),
        SIGNATURE + chunk(b"iTXt", b"parameters\0\1\0\0\0" + BOMB),
        SIGNATURE + chunk(b"zTXt", b"parameters\0\0" + b"no zlib"),
        SIGNATURE + chunk(b"tEXt", b"\0text"),
        broken(with_exif(a1111_comment(A1111))),
    ],
)
@pytest.mark.timeout(PATIENCE_S)
def test_hostile_and_empty_files_say_nothing_quickly(data: bytes) -> None:
    found = read_settings(data)
    assert found.source in ("", "comfyui")
    assert "Prompt" not in found.settings
    assert found.source or found == ReadSettings()


@pytest.mark.timeout(PATIENCE_S)
def test_large_graph_takes_no_time() -> None:
    """Every node leads to every later one, and nobody has a text."""
    count = 1_500
    nodes = {
        str(number): {
            "class_type": "KSampler",
            "inputs": {f"i{to}": [str(to), 0] for to in range(number + 1, min(number + 40, count))}
            | {"positive": [str(number + 1), 0], "text": [str(number + 1), 0]},
        }
        for number in range(count)
    }
    data = png(prompt=json.dumps(nodes))
    read_settings(data)


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("part", ["a", " ", "a ", ':"', 'a:"', "a:,", '"\\', "Steps: 1, "])
def test_long_texts_are_read_in_time_that_grows_with_their_length(part: str) -> None:
    """Looking for names or quotes from every place to the end would take hours for such files."""
    for text in (part * 200_000, "Steps: 4, " + part * 200_000):
        parse_infotext(text)


def test_texts_after_the_pixels_and_packed_ones_are_found() -> None:
    end = chunk(b"IEND", b"")
    packed = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"cat"))
    assert read_texts(png().removesuffix(end) + packed + end)["parameters"] == "cat"


def test_first_of_equal_keywords_counts_and_damage_ends_the_reading() -> None:
    one, two = chunk(b"tEXt", b"a\0one"), chunk(b"tEXt", b"a\0two")
    assert read_texts(SIGNATURE + one + two) == {"a": "one"}
    cut = SIGNATURE + one + struct.pack(">I", 500) + b"tEXtb\0two"
    assert read_texts(cut) == {"a": "one"}
