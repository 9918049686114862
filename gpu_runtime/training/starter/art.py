"""Fetches the openly licensed emoji art and turns it into one array of icons.

Knows the packages, their licences and their file layouts. Knows nothing about models, captions or
backgrounds, and never draws a picture: `compose.py` does that.
"""

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

ICON_PX = 128
"""Icons are kept at this size. Views draw them at 66 to 78 % of a 128 px picture: nothing is enlarged."""

ICON_MARGIN_PX = 2
"""Empty border around the drawing, so that bilinear sampling fades to transparent."""


class ArtError(Exception):
    """The art could not be fetched or is not what the package promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtPackage:
    """One npm package, pinned by the hash of its tarball."""

    name: str
    version: str
    style: str
    """The style word this art is trained under, or the gallery's name where it is never trained on."""
    licence: str
    integrity: str
    """`sha512-` and the base64 digest of the tarball, as npm writes it."""

    @property
    def folder(self) -> str:
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


FLUENT_3D = ArtPackage(
    name="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    style="3d",
    licence="MIT",
    integrity="sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
)
NOTO = ArtPackage(
    name="@iconify-json/noto",
    version="1.2.9",
    style="cartoon",
    licence="Apache-2.0",
    integrity="sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
)
FLUENT_FLAT = ArtPackage(
    name="@iconify-json/fluent-emoji-flat",
    version="1.2.6",
    style="flat",
    licence="MIT",
    integrity="sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
)
NOTO_V1 = ArtPackage(
    name="@iconify-json/noto-v1",
    version="1.2.5",
    style="noto-v1",
    licence="Apache-2.0",
    integrity="sha512-/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
)
FXEMOJI = ArtPackage(
    name="@iconify-json/fxemoji",
    version="1.2.2",
    style="fxemoji",
    licence="Apache-2.0",
    integrity="sha512-UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==",
)
EMOJI_NAMES = ArtPackage(
    name="emojibase-data",
    version="17.0.0",
    style="",
    licence="MIT",
    integrity="sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
)

TRAINED_PACKAGES = (FLUENT_3D, FLUENT_FLAT, NOTO)
GALLERY_PACKAGES = (NOTO_V1, FXEMOJI)
"""Art by other hands, kept out of all training: the second gallery of the retrieval test."""

FLAGS_GROUP = 9
"""Group number of flags in emojibase-data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Icon:
    """One drawing of one concept."""

    code: str
    """Code points in lower-case hex, joined by '-', without the variation selector fe0f."""
    style: str
    label: str
    """The CLDR short name, for example `red apple`."""
    tags: tuple[str, ...]
    group: int
    """Group number of emojibase-data; -1 where it gives none."""


@dataclass(frozen=True, slots=True)
class Art:
    """All drawings; `pixels[i]` belongs to `icons[i]`."""

    icons: list[Icon]
    pixels: NDArray[np.uint8]
    """Shape [icons, ICON_PX, ICON_PX, 4], RGB premultiplied by alpha."""

    def index(self) -> dict[tuple[str, str], int]:
        """Row by (code, style)."""
        return {(icon.code, icon.style): row for row, icon in enumerate(self.icons)}


def normalised_code(raw: str) -> str:
    """`2764-FE0F` and `2764` name the same drawing."""
    return "-".join(part for part in raw.lower().split("-") if part != "fe0f")


def download(folder: Path) -> None:
    """Fetches and unpacks every package below `folder` with the npm client, which knows the registry.

    A package that is already unpacked is left alone. Raises ArtError when a tarball's hash differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in (*TRAINED_PACKAGES, *GALLERY_PACKAGES, EMOJI_NAMES):
        if not (folder / package.folder / "package.json").exists():
            _unpack(_packed(package, folder), folder / package.folder)


def _packed(package: ArtPackage, folder: Path) -> Path:
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    answer = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    tarball = folder / answer.stdout.strip().splitlines()[-1]
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        raise ArtError(f"{package.name}@{package.version}: the tarball's hash is not the pinned one")
    return tarball


def _unpack(tarball: Path, target: Path) -> None:
    with tarfile.open(tarball) as archive:
        for member in archive.getmembers():
            member.name = member.name.partition("/")[2]
        archive.extractall(target, filter="data")
    tarball.unlink()


def render(downloads: Path, target: Path, packages: tuple[ArtPackage, ...] = TRAINED_PACKAGES) -> Art:
    """Draws every named icon of `packages` and writes `<target>.npy` and `<target>.json`."""
    names = _names(downloads / EMOJI_NAMES.folder)
    icons: list[Icon] = []
    pixels: list[NDArray[np.uint8]] = []
    for package in packages:
        drawings = _drawings(package, downloads / package.folder, names)
        for code, drawing in tqdm(drawings, desc=f"render {package.style}", unit="icon"):
            label, tags, group = names[code]
            icons.append(Icon(code=code, style=package.style, label=label, tags=tags, group=group))
            pixels.append(fitted(drawing))
    art = Art(icons, np.stack(pixels))
    save_art(art, target)
    return art


def save_art(art: Art, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target.with_suffix(".npy"), art.pixels)
    rows = [
        {"code": i.code, "style": i.style, "label": i.label, "tags": i.tags, "group": i.group}
        for i in art.icons
    ]
    target.with_suffix(".json").write_text(json.dumps(rows))


def load_art(target: Path) -> Art:
    """Reads what `save_art` wrote; the pixels stay memory-mapped."""
    rows = json.loads(target.with_suffix(".json").read_text())
    icons = [Icon(**{**row, "tags": tuple(row["tags"])}) for row in rows]
    return Art(icons, np.load(target.with_suffix(".npy"), mmap_mode="r"))


def _names(folder: Path) -> dict[str, tuple[str, tuple[str, ...], int]]:
    """(label, tags, group) by code, without flags and skin tones."""
    entries = json.loads((folder / "en" / "data.json").read_text())
    return {
        normalised_code(entry["hexcode"]): (
            entry["label"],
            tuple(entry.get("tags", ())),
            entry.get("group", -1),
        )
        for entry in entries
        if entry.get("group") != FLAGS_GROUP
    }


def _drawings(
    package: ArtPackage, folder: Path, names: dict[str, tuple[str, tuple[str, ...], int]]
) -> Iterator[tuple[str, Image.Image]]:
    if package is FLUENT_3D:
        for path in sorted((folder / "assets").glob("*.webp")):
            if (code := normalised_code(path.stem)) in names:
                yield code, Image.open(path)
        return
    collection = json.loads((folder / "icons.json").read_text())
    size = (collection.get("width", 16), collection.get("height", 16))
    for code, icon_name in sorted(_codes(folder, collection, names).items()):
        if code in names:
            yield code, _rasterised(collection["icons"][icon_name], size)


def _codes(
    folder: Path, collection: dict[str, dict[str, object]], names: dict[str, tuple[str, tuple[str, ...], int]]
) -> dict[str, str]:
    """Icon name by code. Collections without code points are matched by the CLDR name."""
    listed: dict[str, str] = json.loads((folder / "chars.json").read_text())
    if listed:
        return {normalised_code(code): name for code, name in listed.items() if name in collection["icons"]}
    by_slug = {name.replace("-", ""): name for name in collection["icons"]}
    slugs = {code: "".join(c for c in label.lower() if c.isalnum()) for code, (label, _, _) in names.items()}
    return {code: by_slug[slug] for code, slug in slugs.items() if slug in by_slug}


def _rasterised(icon: dict[str, object], size: tuple[int, int]) -> Image.Image:
    width, height = icon.get("width", size[0]), icon.get("height", size[1])
    left, top = icon.get("left", 0), icon.get("top", 0)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, width=2 * ICON_PX, height=2 * ICON_PX, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png)))


def fitted(drawing: Image.Image) -> NDArray[np.uint8]:
    """The drawing cropped to what is visible and scaled so that its longer side fills the icon.

    Returns uint8 [ICON_PX, ICON_PX, 4], premultiplied: resampling then never bleeds hidden colours.
    """
    rgba = drawing.convert("RGBA")
    box = rgba.getchannel("A").point(lambda alpha: 255 if alpha > 12 else 0).getbbox() or (0, 0, *rgba.size)
    premultiplied = rgba.crop(box).convert("RGBa")
    room = ICON_PX - 2 * ICON_MARGIN_PX
    scale = room / max(premultiplied.size)
    width, height = (max(1, round(side * scale)) for side in premultiplied.size)
    small = premultiplied.resize((width, height), Image.Resampling.LANCZOS)
    canvas = np.zeros((ICON_PX, ICON_PX, 4), np.uint8)
    top, left = (ICON_PX - height) // 2, (ICON_PX - width) // 2
    canvas[top : top + height, left : left + width] = _raw_rgba(small)
    return canvas


def _raw_rgba(image: Image.Image) -> NDArray[np.uint8]:
    flat = np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, 4)
    return np.minimum(flat, flat[..., 3:]) if image.mode == "RGBa" else flat
