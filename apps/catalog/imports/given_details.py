"""Details that whoever imports a model may give, because its files do not tell them. Plain rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.audit.refs import JsonValue
from apps.core.errors import InvalidField
from gpu_runtime.weights.identification.cut_outs import NEEDED

COLOURS: Final = 3
LARGEST: Final = 10
MIN_INPUT_PX: Final = 32
MAX_INPUT_PX: Final = 4096


def check_details(details: Mapping[str, JsonValue]) -> None:
    """Raises InvalidField for details that cannot be meant."""
    unknown = sorted(details.keys() - set(NEEDED))
    if unknown:
        raise InvalidField(field="details", problem=f"may hold {', '.join(NEEDED)}, not {unknown[0][:60]}")
    side = details.get("input_px", MIN_INPUT_PX)
    if type(side) is not int or not MIN_INPUT_PX <= side <= MAX_INPUT_PX:
        problem = f"input_px must be a whole number from {MIN_INPUT_PX} to {MAX_INPUT_PX}"
        raise InvalidField(field="details", problem=problem)
    for name in ("mean", "std"):
        if name in details and not _are_colours(details[name], is_divisor=name == "std"):
            least = "above 0" if name == "std" else f"from -{LARGEST}"
            what = f"a list of {COLOURS} numbers {least} to {LARGEST}"
            raise InvalidField(field="details", problem=f"{name} must be {what}")


def _are_colours(value: JsonValue, *, is_divisor: bool) -> bool:
    """Whether it is a list of one number a colour, none of them 0 or less where they divide."""
    if not isinstance(value, list) or len(value) != COLOURS:
        return False
    numbers = [each for each in value if isinstance(each, int | float) and not isinstance(each, bool)]
    least = 0.0 if is_divisor else -LARGEST
    return len(numbers) == COLOURS and all(
        least <= each <= LARGEST and (each > 0 or not is_divisor) for each in numbers
    )
