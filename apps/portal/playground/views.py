"""The playground: one page, whose scripts speak to the native API with the session."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.models import Membership
from apps.api.bodies import read_body
from apps.core.errors import DomainError
from apps.generation.models import GenerationJob
from apps.portal.access import access_row, page
from apps.portal.playground.again import fields_of_job, fields_of_picture
from apps.portal.playground.fields import form_description
from apps.portal.playground.words import interface_words
from apps.portal.refusals.auditing import record_refused
from apps.portal.refusals.saying import error_text

MAX_ID: Final = 2**63 - 1


@require_GET
@page(permission="playground")
def playground(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The form of every kind, and what was made here before."""
    asked = request.GET.get("job", "")
    data = {
        "form": form_description(),
        "words": interface_words(),
        "base_url": settings.BASE_URL,
        "job": int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else None,
        "kind": request.GET.get("kind", ""),
        "model": request.GET.get("model", ""),
    }
    return render(request, "portal/playground.html", {"playground": data})


@require_GET
@page(permission="playground")
def settings_of_job(request: HttpRequest, membership: Membership, job_id: int) -> HttpResponse:
    """The body that asks for a job of the account again."""
    if job_id > MAX_ID:
        return JsonResponse({"detail": _("There is no such job.")}, status=HTTPStatus.NOT_FOUND)
    job = access_row(GenerationJob.objects.all(), request=request, account=membership.account, pk=job_id)
    return JsonResponse({"fields": fields_of_job(job), "source": "job"})


@require_POST
@page(permission="playground")
def settings_of_picture(request: HttpRequest, membership: Membership) -> HttpResponse:
    """What an image file, the body itself, says of how it was made."""
    try:
        data = read_body(request)
    except DomainError as error:
        record_refused(request, membership=membership, code=error.code)
        return JsonResponse({"detail": error_text(error)}, status=error.http_status)
    again = fields_of_picture(data, account=membership.account)
    return JsonResponse({"fields": again.fields, "source": again.source})
