"""States and kinds of generation jobs, and the named subsets the code reasons with."""

from __future__ import annotations

from django.db import models


class JobState(models.TextChoices):
    """Where a job stands. Every accepted job reaches exactly one of TERMINAL_STATES."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    QUARANTINED = "quarantined"
    """Its worker crashed too often while running it."""
    EXPIRED = "expired"
    """It waited past its deadline."""


OPEN_STATES = (JobState.QUEUED, JobState.RUNNING)
TERMINAL_STATES = (
    JobState.SUCCEEDED,
    JobState.FAILED,
    JobState.CANCELED,
    JobState.QUARANTINED,
    JobState.EXPIRED,
)


class Kind(models.TextChoices):
    """What is asked for. Plans name the kinds they include."""

    TXT2IMG = "txt2img"
    IMG2IMG = "img2img"
    INPAINT = "inpaint"
    OUTPAINT = "outpaint"
    CONTROLNET = "controlnet"
    EDIT = "edit"
    """A picture, or several, changed as the prompt says, by a checkpoint made for it."""
    UPSCALE = "upscale"
    REMOVE_BACKGROUND = "remove_background"
    OBJECT_REMOVAL = "object_removal"
    FACE_SWAP = "face_swap"
    DETECT = "detect"
    """The map that a ControlNet would follow, by itself."""
    CAPTION = "caption"
    MASK = "mask"
    """Where in a picture something is that a text names."""
    NSFW_CHECK = "nsfw_check"


DENOISING_KINDS = frozenset(
    {Kind.TXT2IMG, Kind.IMG2IMG, Kind.INPAINT, Kind.OUTPAINT, Kind.CONTROLNET, Kind.EDIT}
)
"""Kinds that need a checkpoint and a prompt; the others work on a picture alone."""

TEXT_KINDS = frozenset({Kind.CAPTION, Kind.NSFW_CHECK})
"""Kinds whose result is words or figures and no image."""


class Resize(models.TextChoices):
    """How a picture takes a size of other proportions."""

    STRETCH = "stretch"
    CROP = "crop"
    """Scaled until it covers the size; what stands out is cut off at both sides alike."""
    PAD = "pad"
    """Scaled until it fits; its edges are blurred outward."""


class Fill(models.TextChoices):
    """What lies under a mask when inpainting begins."""

    ORIGINAL = "original"
    BLUR = "blur"
    NOISE = "noise"
    GREY = "grey"


class Balance(models.TextChoices):
    """What counts more where a control image and the prompt disagree."""

    BALANCED = "balanced"
    PROMPT = "prompt"
    CONTROL = "control"


class ControlType(models.TextChoices):
    """Kinds of maps that ControlNets follow, and the detectors that make them."""

    CANNY = "canny"
    SOFTEDGE = "softedge"
    SCRIBBLE = "scribble"
    LINEART = "lineart"
    OPENPOSE = "openpose"
    DEPTH = "depth"
    NORMAL = "normal"
    SEGMENTATION = "segmentation"
    MLSD = "mlsd"
    TILE = "tile"
    SHUFFLE = "shuffle"
    BLUR = "blur"
    GRAY = "gray"
    INPAINT = "inpaint"
    THRESHOLD = "threshold"
    FACE = "face"


class Replacement(models.TextChoices):
    """What is shown in place of an image that the safety check finds unsuitable."""

    NONE = ""
    """The image itself; the finding is reported."""
    BLUR = "blur"
    SENSITIVE_CONTENT_TEXT = "sensitive_content_text"
    PIXELATE = "pixelate"
    BLACK = "black"


class FaceChoice(models.TextChoices):
    """Which faces of the target are swapped."""

    LARGEST = "largest"
    REFERENCE = "reference"
    """The one most like that of the reference picture."""
    ALL = "all"
