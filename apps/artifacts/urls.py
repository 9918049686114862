"""Links to images. Included at the root by apps.config.urls."""

from __future__ import annotations

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from apps.artifacts import views


class EpochConverter:
    """Seconds since 1970; 4 to 12 digits keep it within what a datetime can hold."""

    regex = r"[1-9][0-9]{3,11}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


class IndexConverter(EpochConverter):
    """Position of an image in its job, without leading zeros."""

    regex = r"0|[1-9][0-9]{0,3}"


class MarkConverter(StringConverter):
    """A signature of apps.core.signing."""

    regex = r"[A-Za-z0-9_-]{22}"


class ExtensionConverter(StringConverter):
    """A file type."""

    regex = r"[a-z0-9]{2,10}"


register_converter(EpochConverter, "artifact_epoch")
register_converter(IndexConverter, "artifact_index")
register_converter(MarkConverter, "artifact_mark")
register_converter(ExtensionConverter, "artifact_extension")

urlpatterns = [
    path(
        "media/<artifact_epoch:expires>.<artifact_mark:mark>/generations/"
        "<uuid:group>-<artifact_index:index>.<artifact_extension:extension>",
        views.serve,
        name="artifact",
    ),
    path("media/<path:rest>", views.refuse),
]
