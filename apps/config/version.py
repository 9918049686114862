"""Where this checkout lies and which version it is."""

from pathlib import Path

REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.1.0"
