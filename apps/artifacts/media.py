"""File types of artifacts, by extension."""

from __future__ import annotations

MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}

EXTENSIONS = {media_type: extension for extension, media_type in MEDIA_TYPES.items()}

BASE64_EXTENSION = "base64"
"""In a link instead of the real extension: the same file as base64 text."""
