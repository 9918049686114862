"""What is done with the pictures of a request before denoising, and under which names the results lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from apps.catalog.models import CatalogEntry
from apps.generation.choices import ControlType, Fill, Kind, Resize
from apps.generation.image_requests import Entries, Places
from apps.generation.resolved import ResolvedRequest
from apps.generation.sizes import Size
from apps.generation.used import Assets, UsedControl
from apps.generation.wishes import DetectWish, StoredPicture
from gpu_runtime.work import RESULT, Asset, Operation, Setting

SOURCE: Final = "source"
"""The request's image as it came."""
BEGINNING: Final = "beginning"
"""The same in the result's size; outside the mask the result equals it."""
MASK: Final = "mask"
BOX: Final = "box"

Settings = Mapping[str, Setting]


@dataclass(slots=True, kw_only=True)
class Preparation:
    """A plan while it is made."""

    pictures: dict[str, StoredPicture] = field(default_factory=dict)
    before: list[Operation] = field(default_factory=list)
    after: list[Operation] = field(default_factory=list)
    places: Places | None = None
    """None where nothing is denoised."""
    results: tuple[str, ...] = ()
    """What is delivered then."""

    def do(
        self,
        name: str,
        inputs: Mapping[str, str],
        result: str,
        settings: Settings | None = None,
        assets: Mapping[str, Asset] | None = None,
        *,
        output: str = "image",
    ) -> str:
        """Add an operation with one result; returns the result's name."""
        self.before.append(
            Operation(
                name=name,
                inputs=inputs,
                outputs={output: result},
                settings=settings or {},
                assets=assets or {},
            )
        )
        return result


def assets_of(assets: Assets, entries: Entries) -> Mapping[str, Asset]:
    """Weights of an operation as the runtime takes them."""
    return {used.role: _asset(entries[used.entry_id]) for used in assets}


def _asset(entry: CatalogEntry) -> Asset:
    # Where it came from is a mapping, and nothing to the runtime; JSON's lists are its tuples of texts.
    details = {
        name: tuple(map(str, value)) if isinstance(value, list) else value
        for name, value in entry.details.items()
        if not isinstance(value, dict)
    }
    return Asset(
        name=entry.name, path=entry.path, digest=entry.digest, variant=entry.variant, details=details
    )


def prepare_denoising(resolved: ResolvedRequest, entries: Entries) -> Preparation:
    """For kinds that denoise. With no steps to do, the picture in its new size is what is delivered."""
    plan = Preparation()
    size = (resolved.width, resolved.height)
    beginning = _beginning(plan, resolved, size)
    has_mask = resolved.expand is not None or resolved.mask is not None
    if resolved.expand is None and resolved.mask is not None:
        prepare_mask(plan, resolved, size)
    if not resolved.steps:
        plan.results = (beginning,) * resolved.num_images
        return plan
    image, mask = _filled(plan, resolved, beginning), MASK if has_mask else ""
    crops = has_mask and resolved.mask_options.is_only_masked and resolved.kind is not Kind.EDIT
    if crops:
        image, mask = _cropped(plan, resolved, image, "crop"), "crop mask"
    is_editing = resolved.kind is Kind.EDIT
    plan.places = Places(
        image="" if is_editing else image,
        mask="" if is_editing else mask,
        references=_references(plan, resolved),
        controls=_controls(plan, resolved, entries, is_cropped=crops),
        ip_adapters=_ip_adapters(plan, resolved),
        output=(resolved.denoised_width, resolved.denoised_height) if crops else resolved.generated_size,
    )
    if has_mask:
        inputs = {"image": RESULT, "original": beginning, "mask": MASK} | ({"box": BOX} if crops else {})
        plan.after.append(Operation(name="mask.paste", inputs=inputs, outputs={"image": RESULT}))
    return plan


def _beginning(plan: Preparation, resolved: ResolvedRequest, size: Size) -> str:
    """The picture to begin from in the result's size; "" without one."""
    picture = resolved.image or (resolved.references[0] if resolved.references and resolved.mask else None)
    if picture is None:
        return ""
    plan.pictures[SOURCE] = picture
    grown = resolved.expand
    if grown is not None:
        settings: Settings = {
            "left": grown.left,
            "right": grown.right,
            "top": grown.top,
            "bottom": grown.bottom,
            "overlap": grown.overlap_px,
        }
        plan.before.append(
            Operation(
                name="canvas.expand",
                inputs={"image": SOURCE},
                outputs={"image": BEGINNING, "mask": MASK},
                settings=settings,
            )
        )
        return BEGINNING
    return _fitted(plan, resolved, SOURCE, picture, size, BEGINNING)


def _fitted(
    plan: Preparation, resolved: ResolvedRequest, name: str, picture: StoredPicture, size: Size, result: str
) -> str:
    """The name of the picture in that size; its own when it has it."""
    if (picture.width, picture.height) == size:
        return name
    return plan.do("canvas.fit", {"image": name}, result, _fit_settings(resolved, size))


def _fit_settings(resolved: ResolvedRequest, size: Size) -> Settings:
    return {"width": size[0], "height": size[1], "mode": resolved.resize.value}


def prepare_mask(plan: Preparation, resolved: ResolvedRequest, size: Size) -> None:
    """The mask under MASK in that size: white is made anew."""
    assert resolved.mask is not None
    options = resolved.mask_options
    plan.pictures["marks"] = resolved.mask
    # As the picture is cropped or padded, so is what marks its parts.
    is_stretched = resolved.resize is Resize.STRETCH
    marks = "marks" if is_stretched else _fitted(plan, resolved, "marks", resolved.mask, size, "fitted marks")
    settings: Settings = {
        "width": size[0],
        "height": size[1],
        "is_inverted": options.is_inverted,
        "blur": options.blur_px,
        "grow": options.grow_px,
        "from_alpha": options.from_alpha,
    }
    plan.do("mask.prepare", {"mask": marks}, MASK, settings, output="mask")


def _filled(plan: Preparation, resolved: ResolvedRequest, image: str) -> str:
    fill = resolved.mask_options.fill
    if resolved.mask is None or fill is Fill.ORIGINAL or resolved.kind is Kind.EDIT:
        return image
    return plan.do("mask.fill", {"image": image, "mask": MASK}, "filled", {"fill": fill.value})


def _cropped(plan: Preparation, resolved: ResolvedRequest, image: str, result: str) -> str:
    """The surroundings of the mask, and under "crop mask" and BOX what belongs to them."""
    settings: Settings = {
        "padding": resolved.mask_options.padding_px,
        "width": resolved.denoised_width,
        "height": resolved.denoised_height,
    }
    plan.before.append(
        Operation(
            name="mask.crop",
            inputs={"image": image, "mask": MASK},
            outputs={"image": result, "mask": "crop mask", "box": BOX},
            settings=settings,
        )
    )
    return result


def _references(plan: Preparation, resolved: ResolvedRequest) -> tuple[str, ...]:
    names = [f"reference {number}" for number in range(len(resolved.references))]
    plan.pictures |= dict(zip(names, resolved.references, strict=True))
    return tuple(names)


def _ip_adapters(plan: Preparation, resolved: ResolvedRequest) -> tuple[tuple[str, ...], ...]:
    places = []
    for number, used in enumerate(resolved.ip_adapters):
        names = tuple(f"prompt {number}.{index}" for index in range(len(used.pictures)))
        plan.pictures |= dict(zip(names, used.pictures, strict=True))
        places.append(names)
    return tuple(places)


def _controls(
    plan: Preparation, resolved: ResolvedRequest, entries: Entries, *, is_cropped: bool
) -> tuple[str, ...]:
    """Maps, of the size of the whole image, or of the part that is worked on."""
    return tuple(
        _control(plan, resolved, entries, control, number, is_cropped=is_cropped)
        for number, control in enumerate(resolved.controls)
    )


def _control(
    plan: Preparation,
    resolved: ResolvedRequest,
    entries: Entries,
    control: UsedControl,
    number: int,
    *,
    is_cropped: bool,
) -> str:
    size = (resolved.width, resolved.height)
    picture = control.picture
    name = f"control {number}"
    plan.pictures[name] = picture
    # Before the detector, whose lines would otherwise be stretched and blurred.
    name = _fitted(plan, resolved, name, picture, size, f"fitted {number}")
    if not control.is_hint:
        inputs = {"image": name}
        if control.type is ControlType.INPAINT:
            inputs["mask"] = MASK
        settings = detector_settings(control)
        assets = assets_of(control.assets, entries)
        name = plan.do(f"detect.{control.type.value}", inputs, f"map {number}", settings, assets)
    return _cropped(plan, resolved, name, f"part {number}") if is_cropped else name


def detector_settings(asked: DetectWish | UsedControl) -> Settings:
    """As the operations of every detector take them; None is the detector's own."""
    return {
        "resolution": asked.resolution_px,
        "threshold_a": asked.threshold_a,
        "threshold_b": asked.threshold_b,
    }
