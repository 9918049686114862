"""Settings in the graph that ComfyUI writes into its images ("prompt"): nodes by id, inputs that name others.

    {"3": {"class_type": "KSampler", "inputs": {"seed": 5, "positive": ["6", 0], ...}}, "6": ...}

A graph can be anything. What is read is what its last sampler uses, looked for upstream of it, the nearest
first, and only so far: graphs come with pictures of anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

Node: TypeAlias = Mapping[str, Any]
Graph: TypeAlias = Mapping[str, Node]

MOST_NODES: Final = 2_000
"""Large graphs of people have 300."""

NEAR: Final = 64
"""Nodes upstream of a text input among which its text is looked for."""

TEXT_INPUTS: Final = ("text", "text_g", "text_l", "t5xxl", "clip_l", "prompt", "string", "value")
"""Where encoders, and the nodes that feed them, keep a prompt; the first that has one counts."""

FROM_INPUTS: Final = {
    "Steps": ("steps",),
    "Sampler": ("sampler_name",),
    "Schedule type": ("scheduler",),
    "CFG scale": ("cfg",),
    "Distilled CFG Scale": ("guidance",),
    "Seed": ("seed", "noise_seed"),
    "Model": ("ckpt_name", "unet_name"),
    "Denoising strength": ("denoise",),
}
"""AUTOMATIC1111's name of a setting, and what nodes call it."""


def is_graph(value: object) -> bool:
    """Whether this is such a graph."""
    return (
        isinstance(value, dict)
        and 0 < len(value) <= MOST_NODES
        and all(isinstance(node, dict) and isinstance(node.get("inputs"), dict) for node in value.values())
        and any("class_type" in node for node in value.values())
    )


def settings_of(graph: Graph) -> dict[str, str]:
    """By AUTOMATIC1111's names, with "Prompt" and "Negative prompt"; what is not said is missing."""
    sampler = _last_sampler(graph)
    if sampler is None:
        return {}
    search = _Search(graph)
    found = {
        "Prompt": search.prompt(sampler, "positive"),
        "Negative prompt": search.prompt(sampler, "negative"),
    }
    for name, inputs in FROM_INPUTS.items():
        found[name] = search.first(sampler, inputs)
    width, height = search.first(sampler, ("width",)), search.first(sampler, ("height",))
    found["Size"] = f"{width}x{height}" if width and height else ""
    if found["Denoising strength"] in ("1", "1.0"):
        found["Denoising strength"] = ""
    return {name: value for name, value in found.items() if value}


def _last_sampler(graph: Graph) -> str | None:
    """The sampler nearest to a node that saves or shows images, else any."""
    outputs = [key for key, node in graph.items() if str(node.get("class_type")).startswith(("Save", "Prev"))]
    for key in outputs[:NEAR]:
        for found in _upstream(graph, key):
            if _is_sampler(graph[found]):
                return found
    return next((key for key, node in graph.items() if _is_sampler(node)), None)


def _is_sampler(node: Node) -> bool:
    """Not one that only names an algorithm, which nothing leads to (KSamplerSelect)."""
    return "Sampler" in str(node.get("class_type")) and bool(_links(node))


@dataclass(frozen=True, slots=True)
class _Search:
    graph: Graph

    def first(self, start: str, inputs: tuple[str, ...]) -> str:
        """The nearest plain value of one of these inputs, as text; "" without."""
        for key in _upstream(self.graph, start):
            node = self.graph[key]["inputs"]
            for name in inputs:
                if name in node and (text := self._plain(node[name])):
                    return text
        return ""

    def prompt(self, start: str, side: str) -> str:
        """The text of the nearest encoder on one side of a sampler or of its guider."""
        key = self._entrance(start, side)
        for found in islice(_upstream(self.graph, key, side), NEAR) if key else ():
            node = self.graph[found]["inputs"]
            texts = [text for name in TEXT_INPUTS if (text := self._text(node.get(name)))]
            if texts:
                return texts[0]
        return ""

    def _entrance(self, start: str, side: str) -> str | None:
        """The node behind the nearest input of that name; guiders without sides have one "conditioning"."""
        names = (side, "conditioning") if side == "positive" else (side,)
        for key in _upstream(self.graph, start):
            for name in names:
                link = _link(self.graph[key]["inputs"].get(name))
                if link in self.graph:
                    return link
        return None

    def _text(self, value: Any) -> str:
        """A text, or that of the node which gives it."""
        link = _link(value)
        if link is None:
            return value if isinstance(value, str) else ""
        for key in islice(_upstream(self.graph, link), NEAR) if link in self.graph else ():
            texts = [self.graph[key]["inputs"].get(name) for name in TEXT_INPUTS]
            for text in texts:
                if isinstance(text, str) and text:
                    return text
        return ""

    def _plain(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            link = _link(value)
            node = self.graph.get(link, {}) if link else {}
            value = next((each for each in node.get("inputs", {}).values() if _is_plain(each)), "")
        return str(value)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _upstream(graph: Graph, start: str, side: str = "") -> Iterator[str]:
    """A node and those that it depends on, the nearest first, each once.

    With `side`, nodes that pass both sides on (ControlNets) are left through that one only.
    """
    seen, waiting = {start}, deque([start])
    while waiting:
        key = waiting.popleft()
        yield key
        for link in _links(graph[key], side):
            if link in graph and link not in seen:
                seen.add(link)
                waiting.append(link)


def _links(node: Node, side: str = "") -> list[str]:
    inputs = node["inputs"]
    passed = {side: inputs[side]} if side in inputs else inputs
    return [link for value in passed.values() if (link := _link(value)) is not None]


def _link(value: Any) -> str | None:
    """The node that an input names: [id, number of its output]."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
        return str(value[0])
    return None
