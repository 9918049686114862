"""What the starter model is taught: concepts, styles, background colours, and the pairs it never sees.

The one place where the vocabulary is decided. Knows nothing about pixels or models.
"""

import hashlib
from dataclasses import dataclass

STYLES = ("3d", "cartoon")
"""`3d` is Fluent 3D, `cartoon` is Noto. Fluent Flat shares its drawings with 3D: only the VAE sees it."""

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "black": (18, 18, 20),
    "gray": (140, 142, 146),
    "red": (214, 48, 49),
    "orange": (245, 140, 40),
    "yellow": (250, 215, 70),
    "green": (64, 165, 82),
    "blue": (52, 110, 220),
    "purple": (130, 72, 186),
    "pink": (246, 160, 196),
}
"""sRGB, 0 to 255. A view moves each channel by a few levels, so that the word names a region, not a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """One thing the model can draw."""

    code: str
    """Code points as in `art.Icon.code`."""
    names: tuple[str, ...]
    """What people call it; the first is used in tests, sheets and the card."""

    @property
    def name(self) -> str:
        return self.names[0]


def _concepts(text: str) -> tuple[Concept, ...]:
    rows = (line.split(maxsplit=1) for line in text.strip().splitlines())
    return tuple(Concept(code=code, names=tuple(n.strip() for n in names.split("|"))) for code, names in rows)


CONCEPTS = _concepts("""
1f34e red apple | apple
1f34c banana
1f353 strawberry
1f349 watermelon | slice of watermelon
1f34d pineapple
1f347 bunch of grapes | grapes
1f34b lemon
1f34a orange | tangerine
1f352 cherries | pair of cherries
1f345 tomato
1f955 carrot
1f344 mushroom | toadstool
1f951 avocado
1f346 eggplant | aubergine
1f355 slice of pizza | pizza
1f354 hamburger | burger
1f35f french fries | fries
1f32d hot dog
1f369 doughnut | donut
1f382 birthday cake | cake
1f366 ice cream | ice cream cone
2615 cup of coffee | coffee
1f431 cat face | cat
1f436 dog face | dog
1f43c panda
1f98a fox
1f437 pig face | pig
1f438 frog
1f430 rabbit face | rabbit
1f427 penguin
1f989 owl
1f422 turtle
1f419 octopus
1f98b butterfly
1f41e ladybug | lady beetle
1f41d bee | honeybee
1f433 whale
1f697 red car | car
1f68c bus
1f680 rocket
26f5 sailboat | sailing boat
1f6f8 flying saucer | ufo
1f31e sun
2b50 star
1f308 rainbow
26c4 snowman
1f525 fire | flame
1f33b sunflower
1f335 cactus
1f384 christmas tree
1f334 palm tree
2744 snowflake
2602 umbrella
1f388 red balloon | balloon
1f48e gem | diamond
1f451 crown | golden crown
1f3b8 guitar
1f4f7 camera
1f4a1 light bulb
1f3e0 house
26bd soccer ball | football
1f3c0 basketball
23f0 alarm clock
1f381 gift | present
2764 red heart | heart
1f499 blue heart
1f3c6 trophy
1f47b ghost
1f916 robot
1f383 pumpkin | jack-o-lantern
1f535 blue circle
1f7e9 green square
""")
"""No people and no faces of people: nothing here can be mistaken for a likeness."""


def is_held_out_view(code: str, style: str, background: str) -> bool:
    """Whether this (concept, style) or (concept, background) pair is kept out of denoiser training.

    About one concept in ten lacks one style, and each concept lacks one of the ten backgrounds.
    """
    return style == held_out_style(code) or background == held_out_background(code)


def held_out_style(code: str) -> str | None:
    """The style in which this concept is never shown, if any."""
    draw = _draw("style", code)
    return STYLES[draw // 10 % len(STYLES)] if draw % 10 == 0 else None


def held_out_background(code: str) -> str:
    """The background colour on which this concept is never shown."""
    return tuple(BACKGROUNDS)[_draw("background", code) % len(BACKGROUNDS)]


def is_held_out_icon(code: str) -> bool:
    """Whether no drawing of this code is ever shown to the VAE: one in twenty of the untaught concepts."""
    return code not in TAUGHT_CODES and _draw("icon", code) % 20 == 0


TAUGHT_CODES = frozenset(concept.code for concept in CONCEPTS)


def _draw(purpose: str, code: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}:{code}".encode()).digest()[:4])
