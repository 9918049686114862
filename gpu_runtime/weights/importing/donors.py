"""Components in the store that stand in for what a single file lacks: encoders, tokenizers, autoencoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_runtime.weights.importing.classes import find_class
from gpu_runtime.weights.importing.components import Component
from gpu_runtime.weights.importing.configs import Config, complete_config, read_json
from gpu_runtime.weights.safetensors_header import read_header
from gpu_runtime.weights.store import DIGEST, INDEX, Store

Tally = dict[str, int]


def find_donated(
    store: Store, donors: tuple[Path, ...], name: str, class_names: tuple[str, ...], denoiser: Config | None
) -> Component | None:
    """The first component of that name and class that fits the denoiser; None when no donor has one."""
    for donor in donors:
        if donor.parent.resolve() == store.checkpoints:
            found = _of_checkpoint(store, donor, name, class_names)
        else:
            found = _of_component(store, donor, name, class_names)
        if found is not None and (denoiser is None or _fits(store, found, denoiser)):
            return found
    return None


def all_components(store: Store, donor: Path) -> list[Component]:
    """Every component of a checkpoint in the store."""
    index = read_json(donor / INDEX)
    return [
        _component(store, name, str(index[name][0]), str(index[name][1]), digest)
        for name, digest in store.components_of(donor.name).items()
    ]


def config_of(store: Store, component: Component) -> Config:
    """The complete configuration of a network in the store."""
    config = read_json(store.component(component.digest) / "config.json")
    return complete_config(find_class(component.library, component.class_name), config)


def _of_checkpoint(store: Store, donor: Path, name: str, class_names: tuple[str, ...]) -> Component | None:
    entry = read_json(donor / INDEX).get(name)
    digest = store.components_of(donor.name).get(name)
    if digest is None or not isinstance(entry, list) or len(entry) != 2 or entry[1] not in class_names:
        return None
    return _component(store, name, str(entry[0]), str(entry[1]), digest)


def _of_component(store: Store, donor: Path, name: str, class_names: tuple[str, ...]) -> Component | None:
    """A text encoder that was imported by itself, with its tokenizer in the same folder."""
    if not DIGEST.fullmatch(donor.name) or not (donor / "config.json").is_file():
        return None
    architectures = read_json(donor / "config.json").get("architectures") or []
    if "CLIPTokenizer" not in class_names and any("Tokenizer" in each for each in class_names):
        has_tokenizer = (donor / "tokenizer_config.json").is_file()
        return _component(store, name, "transformers", class_names[0], donor.name) if has_tokenizer else None
    class_name = next((each for each in architectures if each in class_names), None)
    return _component(store, name, "transformers", class_name, donor.name) if class_name else None


def _component(store: Store, name: str, library: str, class_name: str, digest: str) -> Component:
    files = [file for file in store.component(digest).rglob("*") if file.is_file()]
    sizes: Tally = {}
    for file in files:
        for facts in read_header(file).tensors.values() if file.suffix == ".safetensors" else ():
            sizes[facts.dtype] = sizes.get(facts.dtype, 0) + facts.size_bytes
    return Component(
        name=name,
        library=library,
        class_name=class_name,
        digest=digest,
        size_bytes=sum(file.stat().st_size for file in files),
        dtype=max(sizes, key=lambda dtype: (sizes[dtype], dtype)) if sizes else "",
    )


def _fits(store: Store, component: Component, denoiser: Config) -> bool:
    """Whether a donated part speaks the denoiser's language: text and latents of the widths it takes."""
    config = config_of(store, component)
    return all(denoiser[wanted] == value for wanted, value in _widths(component, config, denoiser).items())


def _widths(component: Component, config: Mapping[str, Any], denoiser: Config) -> dict[str, object]:
    if component.class_name == "AutoencoderKL":
        channels = int(config["latent_channels"])
        # FLUX.1 packs squares of 2 x 2 latents.
        packing = 4 if denoiser["_class_name"] == "FluxTransformer2DModel" else 1
        return {"out_channels": channels * packing} if denoiser.get("out_channels") is not None else {}
    if component.class_name == "T5EncoderModel":
        return {"joint_attention_dim": config.get("d_model")}
    if denoiser["_class_name"] == "FluxTransformer2DModel":
        return {"pooled_projection_dim": config.get("hidden_size")}
    if denoiser["_class_name"] == "UNet2DConditionModel" and not denoiser.get("addition_embed_type"):
        return {"cross_attention_dim": config.get("hidden_size")}
    return {}
