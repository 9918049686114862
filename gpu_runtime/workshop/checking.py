"""Whether a request for work can run, decided before anything is decoded or loaded. Plain Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.messages import Enlarging, ImageInput, ImageRequest
from gpu_runtime.operations.registry import ENTRIES, Entry
from gpu_runtime.work import RESULT, Made, Operation, WorkRequest

MOST_OPERATIONS = 64
"""Before, between and after together; five controls, a mask, a crop and what follows are twenty."""


def require_sound(request: WorkRequest) -> None:
    """Raise UnsupportedCombination unless every operation exists and every name was given before its use."""
    if len(request.before) + len(request.between) + len(request.after) > MOST_OPERATIONS:
        raise UnsupportedCombination(f"a request has at most {MOST_OPERATIONS} operations")
    if request.weight <= 0:
        raise UnsupportedCombination(f"the weight must be above 0, not {request.weight:g}")
    known = _names_after(request.before, frozenset(request.pictures))
    if request.image is None:
        if request.between:
            raise UnsupportedCombination("operations between two passes need an image request")
        _require_names(request.results, known, "the results")
    else:
        _require_image(request, request.image, known)
    _names_after(request.between, known | {RESULT})
    _names_after(request.after, known | {RESULT})


def made_names(image: ImageRequest) -> tuple[str, ...]:
    """Names that stand in a request in the place of pictures."""
    return tuple(picture.name for picture in _pictures_of(image) if isinstance(picture, Made))


def with_pictures(image: ImageRequest, picture_of: Callable[[str], ImageInput]) -> ImageRequest:
    """The request with pictures in the place of names."""

    def put(picture: ImageInput) -> ImageInput:
        return picture_of(picture.name) if isinstance(picture, Made) else picture

    return replace(
        image,
        image=put(image.image) if image.image else None,
        mask=put(image.mask) if image.mask else None,
        references=tuple(map(put, image.references)),
        controls=tuple(replace(each, image=put(each.image)) for each in image.controls),
        ip_adapters=tuple(replace(each, images=tuple(map(put, each.images))) for each in image.ip_adapters),
    )


def _pictures_of(image: ImageRequest) -> Iterator[ImageInput]:
    yield from (picture for picture in (image.image, image.mask) if picture)
    yield from image.references
    yield from (control.image for control in image.controls)
    for adapter in image.ip_adapters:
        yield from adapter.images


def _require_image(request: WorkRequest, image: ImageRequest, known: frozenset[str]) -> None:
    if image.request_id != request.request_id:
        raise UnsupportedCombination(
            f"the image request is called {image.request_id!r} and not {request.request_id!r}"
        )
    if request.results:
        raise UnsupportedCombination("results are for requests without an image request")
    is_needed = image.hires is not None and image.hires.enlarging is Enlarging.OPERATIONS
    if is_needed != bool(request.between):
        raise UnsupportedCombination(
            "operations between two passes are for requests whose image they enlarge, which need some"
        )
    _require_names(made_names(image), known, "the image request")


def _names_after(operations: Iterable[Operation], known: frozenset[str]) -> frozenset[str]:
    """`known` and what the operations add to it, each checked against what is known before it."""
    for operation in operations:
        entry = ENTRIES.get(operation.name)
        if entry is None:
            raise UnsupportedCombination(f"there is no operation {operation.name!r}")
        _require_inputs(operation, entry)
        _require_outputs(operation, entry)
        _require_names(operation.inputs.values(), known, f"operation {operation.name}")
        known |= frozenset(operation.outputs.values())
    return known


def _require_inputs(operation: Operation, entry: Entry) -> None:
    missing = [name for name in entry.inputs if name not in operation.inputs]
    if missing:
        raise UnsupportedCombination(f"operation {operation.name} needs the input {missing[0]!r}")
    _refuse_unknown(operation, operation.inputs, (*entry.inputs, *entry.optional), "input")


def _require_outputs(operation: Operation, entry: Entry) -> None:
    _refuse_unknown(operation, operation.outputs, entry.outputs, "output")


def _refuse_unknown(
    operation: Operation, given: Mapping[str, str], known: tuple[str, ...], what: str
) -> None:
    for name in given:
        if name not in known:
            raise UnsupportedCombination(
                f"operation {operation.name} has no {what} {name!r}; it has {', '.join(known) or 'none'}"
            )


def _require_names(names: Iterable[str], known: frozenset[str], where: str) -> None:
    for name in names:
        if name not in known:
            raise UnsupportedCombination(
                f"{where} refers to {name!r}, which no picture and no operation before it is called"
            )
