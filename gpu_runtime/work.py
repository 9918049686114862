"""A request that is more than one image: pictures are prepared, an image is made, results are worked on.

What crosses the border beside `messages.ImageRequest`. The Workshop (`gpu_runtime.workshop`) carries it out.
Plain frozen values only; importing this module imports no torch, no numpy and no cv2.

Pictures go by names within a request. `before` reads the names in `pictures` and what its earlier operations
left; the names stand in `image` as `Made`; `after` begins with each result under "image", and what is under
"image" at its end is delivered. `between` does so with what the first of two passes gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gpu_runtime.messages import ImageInput, ImageRequest, Priority
from gpu_runtime.weights.taxonomy import Detail

Setting: TypeAlias = str | int | float | bool | tuple[str | int | float, ...] | None

RESULT: Final = "image"
"""Name of the picture that `after` works on and that is delivered."""

MEDIA_TYPES: Final = ("image/png", "image/jpeg", "image/webp")

GENERATED: Final = "trainedAlgorithmicMedia"
COMPOSITE: Final = "compositeWithTrainedAlgorithmicMedia"
"""IPTC's words for a picture that a model made, and for one that it changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """Weights that an operation uses."""

    name: str
    """The catalogue's name; for logs and telemetry only."""
    path: str
    """Absolute path of the entry's folder."""
    digest: str
    """Hash that identifies the weights: equal digests share one copy in memory."""
    variant: str = ""
    """Architecture within the kind, e.g. "rrdbnet"."""
    details: Mapping[str, Detail] = field(default_factory=dict)
    """What identification found out, e.g. {"scale": 4, "blocks": 23}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made(ImageInput):
    """Stands in an ImageRequest for the picture of this name, until the Workshop puts it there.

    An ImageInput without data, so that it fits wherever one may stand; outside a WorkRequest it is refused.
    """

    name: str
    """In `WorkRequest.pictures`, or an output of an operation of `before`."""
    data: bytes = b""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step of preparing pictures or of working on results; what there is: `operations/registry.py`."""

    name: str
    """In the registry, e.g. "canvas.fit"."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """The operation's own parameter -> the name that the picture has in this request."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """The operation's result -> the name it gets; results that are not named are dropped."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    assets: Mapping[str, Asset] = field(default_factory=dict)
    """The operation's own name for the weights ("model", "detector") -> which ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How results become files. Raises ValueError for values outside the ranges below."""

    media_type: str = "image/png"
    """"image/png", "image/jpeg" (transparency shows white) or "image/webp"."""
    quality: int = 95
    """1 to 100; JPEG keeps full colour resolution from 90 on, WebP is lossless at 100, PNG always is."""
    texts: tuple[Mapping[str, str], ...] = ()
    """For each image, or one for all: "parameters" (AUTOMATIC1111's text), "darkroom" (our JSON)."""
    is_marked: bool = True
    """Whether the file says, as IPTC's digital source type in XMP, that a model made it."""
    source_type: str = GENERATED
    """GENERATED, or COMPOSITE for edits of a photograph."""

    def __post_init__(self) -> None:
        if self.media_type not in MEDIA_TYPES:
            raise ValueError(f"media_type must be one of {', '.join(MEDIA_TYPES)}, not {self.media_type!r}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be 1 to 100, not {self.quality}")
        if self.source_type not in (GENERATED, COMPOSITE):
            raise ValueError(f"source_type must be {GENERATED} or {COMPOSITE}, not {self.source_type!r}")

    def texts_of(self, index: int) -> Mapping[str, str]:
        """Of one image: its own, the one for all, or none."""
        if len(self.texts) == 1:
            return self.texts[0]
        return self.texts[index] if index < len(self.texts) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRequest:
    """Operations, an image request between them, and how results are encoded."""

    request_id: str
    """Unique among the requests the runtime holds."""
    account: str
    """Opaque tenant id: operations are shared fairly between accounts."""
    weight: float = 1.0
    """Relative share of this account's plan, above 0."""
    priority: Priority = Priority.INTERACTIVE
    is_isolated: bool = False
    """Nothing else is taken meanwhile: set for requests whose worker crashed before."""
    pictures: Mapping[str, ImageInput] = field(default_factory=dict)
    """What the request brings, by name."""
    before: tuple[Operation, ...] = ()
    """In order."""
    image: ImageRequest | None = None
    """Its request_id equals this one's; where an ImageInput may stand, `Made` may stand for one."""
    between: tuple[Operation, ...] = ()
    """In order, for each image between its first pass and the one at a larger size, where `image.hires` has
    `Enlarging.OPERATIONS`: begins with the image under "image" and leaves it there at the larger size."""
    after: tuple[Operation, ...] = ()
    """In order, for each image by itself."""
    results: tuple[str, ...] = ()
    """Without `image`: names that are delivered as images 0 to n-1, each after `after`; may be none."""
    encoding: Encoding = field(default_factory=Encoding)
    wants_previews: bool = False
    """Whether Preview events are made while the image request runs."""
    seed: int = 0
    """Of the operations' own chance where there is no image, 0 to 2**32 - 1."""
