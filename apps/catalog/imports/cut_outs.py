"""What a cut-out network's file does not say about the pictures it wants: known by its make, or given."""

from __future__ import annotations

from collections.abc import Mapping

from apps.audit.refs import JsonValue
from apps.catalog.choices import Kind
from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.options import ImportOptions
from gpu_runtime.weights.identification.cut_outs import FIXED, NEEDED, find_preparation


def complete_details(
    kind: str, found: Mapping[str, JsonValue], options: ImportOptions
) -> dict[str, JsonValue]:
    """The entry's details: what was found, with what its names tell and what was given.

    Raises ImportFailure when a cut-out network's needs stay unknown, or when details are given for another
    kind, which has no place for them.
    """
    if kind != Kind.BACKGROUND_REMOVAL:
        if options.details:
            raise ImportFailure(
                "unsupported_model",
                f"The details {', '.join(NEEDED)} belong to cut-out networks; this model is of kind {kind}.",
            )
        return dict(found)
    known = find_preparation(options.file, options.address, options.name)
    by_name: dict[str, JsonValue] = {}
    if known is not None:
        by_name = {name: list(v) if isinstance(v, tuple) else v for name, v in known.details.items()}
    given = _as_texts(options.details)
    side = given.get("input_px", found.get("input_px"))
    if found.get(FIXED) and side != found.get("input_px"):
        raise ImportFailure(
            "unsupported_model", f"It takes pictures of {found.get('input_px')} pixels a side, not {side}."
        )
    complete = by_name | dict(found) | given
    missing = [name for name in NEEDED if name not in complete]
    if missing:
        raise ImportFailure(
            "unsupported_model",
            f"Nothing says how this cut-out network wants its pictures: give its {', '.join(missing)} with"
            " the import as details. input_px is the side of a picture in pixels, mean and std are three"
            " numbers each: the network gets (colour - mean) / std of colours from 0 to 1.",
        )
    return complete


def _as_texts(details: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """As identification keeps them: the runtime's details hold no lists of numbers."""
    return {
        name: [str(each) for each in value] if isinstance(value, list) else value
        for name, value in details.items()
    }
