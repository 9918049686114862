"""A drawn portrait: the picture on which converted networks are held against the original ones."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFilter

SIDE_PX = 256


def portrait() -> Image.Image:
    """Head and shoulders before a plain wall, 256 px, RGB; the same at every call."""
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), (90, 140, 200))
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 150, 196, 330), fill=(120, 30, 40))
    draw.rectangle((112, 120, 144, 170), fill=(225, 180, 150))
    draw.ellipse((92, 50, 164, 146), fill=(230, 185, 155))
    draw.pieslice((88, 40, 168, 120), 180, 360, fill=(60, 40, 30))
    for left in (110, 138):
        draw.ellipse((left, 88, left + 10, 96), fill=(40, 30, 30))
    draw.arc((112, 100, 144, 128), 20, 160, fill=(150, 50, 50), width=3)
    return image.filter(ImageFilter.GaussianBlur(1))
