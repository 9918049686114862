"""Skips the deep blocks of a denoiser for rows that hardly changed since they last ran: the `fast` tier.

The first block runs for all rows. A row whose first block made nearly what it made before is given what the
deep blocks made for it then; they run for the other rows only. What a row gets depends on itself alone:
neither the choice nor what is reused comes from a neighbour.

Two shapes of denoiser, whose blocks are intercepted while a call lasts and are as before after it:

- transformers (SD 3, FLUX): all blocks but the first are skipped; what they add to the image tokens is reused
  (first-block caching, see `choice`);
- UNets: all but the outermost level are skipped; what the level below hands up is reused (Ma et al. 2023,
  arXiv:2312.00858, with a choice for each row in the place of a fixed interval).

Not for calls in which something acts on single rows inside the network, such as adapters: it would meet
fewer rows than it knows. Any throughout: diffusers' blocks are untyped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from gpu_runtime.execution.lattice import taken
from gpu_runtime.feature_cache.choice import Choice
from gpu_runtime.feature_cache.features import PartFeatures

Call = Callable[..., Any]


@contextmanager
def reusing(network: nn.Module, features: PartFeatures) -> Iterator[None]:
    """While open, one call of the network may reuse what its rows remember, and notes what they will."""
    blocks = _interceptors(network, features)
    before = {block: block._compiled_call_impl for block in blocks}
    try:
        for block, intercept in blocks.items():
            block._compiled_call_impl = intercept
        yield
    finally:
        for block, call in before.items():
            block._compiled_call_impl = call


def _interceptors(network: Any, features: PartFeatures) -> Mapping[nn.Module, Call]:
    """What stands in the place of each block's call; empty for networks that have too few blocks."""
    if hasattr(network, "transformer_blocks"):
        blocks = [*network.transformer_blocks, *getattr(network, "single_transformer_blocks", ())]
        if len(blocks) < 2:
            return {}
        tokens = TransformerReuse(features)
        calls: dict[nn.Module, Call] = {block: tokens.middle(_inner(block)) for block in blocks[1:-1]}
        calls[blocks[0]] = tokens.first(_inner(blocks[0]))
        calls[blocks[-1]] = tokens.last(_inner(blocks[-1]))
        return calls
    if len(network.down_blocks) < 2:
        return {}
    levels = UnetReuse(features)
    calls = {block: levels.down(_inner(block), block) for block in network.down_blocks[1:]}
    calls[network.down_blocks[0]] = levels.first(_inner(network.down_blocks[0]))
    calls[network.mid_block] = levels.deep(_inner(network.mid_block))
    calls |= {block: levels.deep(_inner(block)) for block in network.up_blocks[:-2]}
    calls[network.up_blocks[-2]] = levels.last(_inner(network.up_blocks[-2]))
    return calls


def _inner(block: nn.Module) -> Call:
    """The block's call as it is without us, compiled or not."""
    call: Call = block._compiled_call_impl or block._call_impl
    return call


class TransformerReuse:
    """One call of a transformer whose blocks take tokens of text and image and return both."""

    STREAMS = frozenset({"hidden_states", "encoder_hidden_states"})
    """Arguments that come from the block before, and so have the chosen rows already."""

    def __init__(self, features: PartFeatures) -> None:
        self._features = features
        self._choice: Choice
        self._after_first: Tensor

    def first(self, inner: Call) -> Call:
        """Runs for all rows, then chooses those that go on."""

        def call(**arguments: Any) -> Any:
            text, image = inner(**arguments)
            choice = Choice(self._features, image - arguments["hidden_states"])
            self._choice, self._after_first = choice, image
            return (text, image) if choice.is_whole else taken((text, image), choice.rows, choice.index)

        return call

    def middle(self, inner: Call) -> Call:
        """Runs for the rows that go on."""

        def call(**arguments: Any) -> Any:
            choice = self._choice
            if not choice.active:
                return arguments["encoder_hidden_states"], arguments["hidden_states"]
            return inner(**self._narrowed(arguments))

        return call

    def last(self, inner: Call) -> Call:
        """As the middle; then all rows come together again. Nobody reads the text after it."""
        middle = self.middle(inner)

        def call(**arguments: Any) -> Any:
            text, image = middle(**arguments)
            choice, before = self._choice, self._after_first
            if choice.is_whole:
                choice.merge(image - before)
                # Not the sum of the two, which is rounded: what nobody reused is as without us.
                return text, image
            return text, before + choice.merge(image - before.index_select(0, choice.index))

        return call

    def _narrowed(self, arguments: dict[str, Any]) -> dict[str, Any]:
        choice = self._choice
        if choice.is_whole:
            return arguments
        streams = {name: value for name, value in arguments.items() if name in self.STREAMS}
        others = {name: value for name, value in arguments.items() if name not in self.STREAMS}
        return streams | taken(others, choice.rows, choice.index)


class UnetReuse:
    """One call of a UNet: of its levels the outermost one runs for all rows."""

    def __init__(self, features: PartFeatures) -> None:
        self._features = features
        self._choice: Choice
        self._narrow: dict[int, Tensor] = {}
        """By identity, the chosen rows of what the first level hands to deeper ones."""

    def first(self, inner: Call) -> Call:
        """The outermost level down: runs for all rows, then chooses those that go on."""

        def call(**arguments: Any) -> Any:
            image, skips = inner(**arguments)
            choice = self._choice = Choice(self._features, image)
            if choice.is_whole:
                return image, skips
            self._narrow = {id(skip): skip.index_select(0, choice.index) for skip in skips}
            return image.index_select(0, choice.index), skips

        return call

    def down(self, inner: Call, block: Any) -> Call:
        """A deeper level down: an image, and one for each of its layers for the way up."""
        deep = self.deep(inner)
        layers = len(block.resnets) + len(block.downsamplers or ())

        def call(**arguments: Any) -> Any:
            if self._choice.active:
                return deep(**arguments)
            image = arguments["hidden_states"]
            # Of no meaning: the levels up that would take them are skipped as well.
            return image, (image,) * layers

        return call

    def deep(self, inner: Call) -> Call:
        """The middle, or a level up: runs for the rows that go on."""

        def call(*arguments: Any, **named: Any) -> Any:
            image, others = arguments[:1], arguments[1:]
            choice = self._choice
            if not choice.active:
                return image[0] if image else named["hidden_states"]
            if choice.is_whole:
                return inner(*arguments, **named)
            streams = {name: named.pop(name) for name in ("hidden_states",) if name in named}
            if "res_hidden_states_tuple" in named:
                skips = named.pop("res_hidden_states_tuple")
                streams["res_hidden_states_tuple"] = tuple(self._narrow.get(id(s), s) for s in skips)
            return inner(
                *image,
                *taken(others, choice.rows, choice.index),
                **streams,
                **taken(named, choice.rows, choice.index),
            )

        return call

    def last(self, inner: Call) -> Call:
        """The last level up but one: then all rows come together again."""
        deep = self.deep(inner)

        def call(**arguments: Any) -> Any:
            return self._choice.merge(deep(**arguments))

        return call
