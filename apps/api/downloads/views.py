"""The client for machines without a package index: a wheel, and the page that pip looks for it on (PEP 503).

    pip install --index-url http://box:8000/downloads/simple darkroom-client

Open to everybody: it is the published client, and pip has no API key. What the client itself needs comes from
the index of the house, which `--extra-index-url` names.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.views.decorators.http import condition, require_safe

from apps.api.downloads.wheel import client_wheel

CACHE = "public, max-age=300"
PAGE = '<!DOCTYPE html><html lang="en"><head><title>{}</title></head><body>{}</body></html>'


def _etag(request: HttpRequest, *args: object, **kwargs: object) -> str:
    return f'"{client_wheel().sha256}"'


@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    """What there is."""
    name = client_wheel().project
    return _page("Projects", format_html('<a href="{}/">{}</a>', name, name))


@require_safe
@condition(etag_func=_etag)
def releases(request: HttpRequest, project: str) -> HttpResponse:
    """The files of one project; pip checks them against their digest."""
    wheel = client_wheel()
    if project != wheel.project:
        return _absent(f"There is no project {project[:60]} here; there is {wheel.project}.")
    link = format_html(
        '<a href="/downloads/{}#sha256={}" data-requires-python="{}">{}</a>',
        wheel.file,
        wheel.sha256,
        wheel.requires_python,
        wheel.file,
    )
    return _page(wheel.project, link)


@require_safe
@condition(etag_func=_etag)
def download(request: HttpRequest, file: str) -> HttpResponse:
    """The wheel, under the name of its release."""
    wheel = client_wheel()
    if file != wheel.file:
        return _absent(f"There is no file {file[:120]} here; there is {wheel.file}.")
    headers = {"Cache-Control": CACHE, "Content-Disposition": f'attachment; filename="{wheel.file}"'}
    return HttpResponse(wheel.data, content_type="application/octet-stream", headers=headers)


def _page(title: str, body: str) -> HttpResponse:
    return HttpResponse(format_html(PAGE, title, body), headers={"Cache-Control": CACHE})


def _absent(text: str) -> HttpResponse:
    return HttpResponse(text + "\n", status=404, content_type="text/plain; charset=utf-8")
