"""Words by which `prompt_safety` judges prompts: English, folded as `prompt_words` folds them.

A word that ends in "*" stands for all that begin with it. Chosen to be few: a word is here when it nearly
always means what the list says, and its innocent uses are in INNOCENT.
"""

from __future__ import annotations

from typing import Final


def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    """One a line, or between commas."""
    parts = text.replace("\n", ",").split(",")
    return frozenset(tuple(part.split()) for part in parts if part.strip())


EXPLICIT: Final = _phrases("""
    nude, nudes, nudity, nudist*, naked, nakedness, topless, bottomless, unclothed, undressed
    undressing, disrobed, no clothes, without clothes, no clothing, without clothing, wearing nothing
    nothing on, no underwear, nsfw, r18, rule34, rule 34, porn*, hentai, ecchi, erotic*, xxx, onlyfans
    camgirl*, sex, sexual, sexually, sexting, intercourse, orgasm*, orgy, orgies, gangbang*
    threesome*, masturbat*, blowjob*, handjob*, fellatio, cunnilingus, deepthroat*, creampie*
    cumshot*, cum, bukkake, ejaculat*, penis*, vagina*, vulva*, clitoris, genital*, labia, testicles
    scrotum, phallus, erection, nipple*, areola*, boobs, boobies, tits, titties, pussy, pussies
    bare breast*, exposed breast*, bare chested woman, bdsm, fetish*, upskirt*, downblouse, striptease
    rape, raped, raping, incest, bestiality, zoophilia, fucking her, fucking him, fucking me
    getting fucked, spread legs, legs spread
""")
"""Make a prompt unsuitable by themselves."""

SUGGESTIVE: Final = _phrases("""
    sexy, sexi*, sexuali*, seductive*, seducing, sensual*, horny, aroused, arousing, kinky, lewd
    slutty, slut, whore, lingerie, panties, underwear, thong, thongs, bra, cleavage, stripper*
    stripping, provocative pose, fuck*, breasts, buttocks, crotch, cameltoe, see through clothes
    skimpy, revealing clothes, revealing outfit
""")
"""Unsuitable only together with a minor."""

MINORS: Final = _phrases("""
    boy, boys, child, children, childs, kid, kids, toddler*, infant*, baby, babies, newborn*, preteen*
    pre teen*, tween, tweens, teen, teens, teenage*, adolescent*, underage*, under age, juvenile*
    prepubescent*, pubescent*, minors, minor girl*, minor boy*, minor female*, minor male*, schoolgirl*
    schoolboy*, schoolchild*, schoolkid*, school girl*, school boy*, school child*, school kid*, kindergart*
    preschool*, elementary schooler*, primary schooler*, middle schooler*
    high schooler*, middle school student*, elementary school student*, primary school student*
    high school student*, daycare, barely legal, little sister, little brother, little daughter
    little son, little one, little ones
""")

ABUSE: Final = _phrases("""
    loli, lolis, lolicon, lolita girl*, shota, shotas, shotacon, pedo, pedophil*, paedophil*, csam
    toddlercon
""")
"""Say both at once."""

YOUNG: Final = frozenset({"young", "younger", "little", "small", "tiny", "petite", "smol", "wee"})
YOUNG_NOUNS: Final = frozenset({"girl", "girls", "boy", "boys", "gal", "lad", "lass"})
"""A minor where a word of YOUNG stands up to two words before one of these; "young woman" is none."""

INNOCENT: Final = _phrases("""
    boy band, boy bands, bad boy, bad boys, pool boy, cow boy, cow boys, boy shorts, boy toy, beach boys
    naked eye, naked eyes, naked mole rat, naked mole rats, naked cake, naked flame, naked singularity
    nude lipstick, nude heels, nude pumps, nude color, nude colors, nude colour, nude colours
    nude tones, nude tone, nude nails, nude makeup, nude palette, nude pink, nude beige, nude shade
    nude shades, same sex, opposite sex, sex and the city, sex pistols, sex ratio, sex education
    sex chromosome*, unsex, blue tits, great tits, coal tits, marsh tits, willow tits, crested tits
    bearded tits, pussy willow, pussy willows, pussy cat, pussy cats, pussy riot, puss in boots
    cum laude, bowl xxx, child pose, childs pose, inner child, kid gloves, kid leather, baby blue
    baby pink, baby oil, baby doll dress, baby powder, baby grand, baby bump, baby shower, goat kid
    billy the kid, karate kid, baby breath, babys breath, nipple pliers, grease nipple, pipe nipple
    hex nipple, brass nipple, bra ket, erection of a, steel erection, slip of the tongue
    sports underwear, thermal underwear, whore of babylon
""")
"""Phrases in which none of the above means what it usually does."""

NEGATIONS: Final = frozenset({"no", "non", "not", "without", "never", "zero"})
"""Right before a word, they take it back. Phrases that begin with one of them are listed above."""

AGED_THINGS: Final = frozenset(
    word
    for (word,) in _phrases("""
    whisky, whiskey, scotch, bourbon, rum, wine, port, brandy, cognac, cheese, cheddar, car, truck, house
    building, tree, oak, castle, church, ship, boat, bonsai, company, brand, tradition, bottle, barrel, cask
    dog, cat, horse
""")
)
"""What may be "12 years old" without being a child."""

NUMBERS: Final = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "thirteen": 13,
    "fourteen": 14,
    "fifteen": 15,
    "sixteen": 16,
    "seventeen": 17,
}
"""Below ADULT_YEARS, as words."""
