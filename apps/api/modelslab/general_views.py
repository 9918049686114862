"""What is no generation: checks of prompts, uploads, what was made, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from apps.api.bodies import JsonObject, read_fields, read_query
from apps.api.json_bytes import json_bytes
from apps.api.modelslab import render
from apps.api.modelslab.errors import NotOffered
from apps.api.modelslab.fields.general import (
    ASSETS_GENERATED,
    DELETE_IMAGE,
    IMAGE_TYPE,
    MAX_PER_PAGE,
    PROMPT_CHECK,
    UPLOAD_BASE64,
    UPLOAD_CROPPED,
    UPLOAD_IMAGE,
)
from apps.api.modelslab.fields.table import Table, Values, read_table, take_in_pictures
from apps.api.modelslab.translation.asked import renamed
from apps.api.modelslab.views import JSON_TYPE, ModelsLabView
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.artifacts.links import artifact_url
from apps.artifacts.models import Artifact
from apps.billing.ledger.selectors import balances
from apps.billing.money import MICRO_PER_USD
from apps.core import clock
from apps.core.errors import InvalidField, NotFound
from apps.generation.asset_pages import list_made
from apps.generation.deleting import delete_images
from apps.generation.models import GenerationJob
from apps.generation.picture_fitting import crop_to_square
from apps.generation.prompt_safety import check_prompt
from apps.generation.selectors import access_job, count_open
from apps.generation.sharing import share_picture
from apps.generation.wishes import StoredPicture
from apps.plans.entitlements import Unlimited
from apps.plans.selectors import get_entitlements
from apps.quotas.selectors import get_usage

Json = dict[str, object]

UPLOADED: Final = "image uploaded"


class GeneralView(ModelsLabView):
    """Base: reads body and query together, answers GET and POST alike."""

    scope: ClassVar[Scope] = Scope.JOBS_READ
    table: ClassVar[Table] = ()

    def post(self, request: Request) -> HttpResponse:
        http: HttpRequest = request._request
        fields: JsonObject = {**read_query(http), **read_fields(http)}
        key = self.identify(http, fields, self.scope)
        return HttpResponse(json_bytes(self.act(key, read_table(self.table, fields))), content_type=JSON_TYPE)

    def get(self, request: Request) -> HttpResponse:
        return self.post(request)

    def act(self, key: ApiKey, values: Values) -> Json:
        """The body of a success."""
        raise NotImplementedError


class PromptCheckView(GeneralView):
    """/api/check_nsfw_cp: what a prompt asks for, before anything is made of it."""

    scope = Scope.IMAGES_GENERATE
    table = PROMPT_CHECK

    def act(self, key: ApiKey, values: Values) -> Json:
        prompt: str = values.get("prompt", "")
        verdict = check_prompt(prompt)
        return {
            "status": "success",
            "is_cp": verdict.is_minor_sexual,
            "is_nsfw": verdict.is_nsfw,
            "original_prompt": prompt,
            "filtered_prompt": verdict.filtered_prompt,
        }


class UploadView(GeneralView):
    """Base: a picture under a link of its own for 24 hours."""

    scope = Scope.IMAGES_GENERATE

    def act(self, key: ApiKey, values: Values) -> Json:
        now = clock.now()
        take_in_pictures(values, now=now)
        picture = values.find("image", StoredPicture)
        assert picture is not None
        try:
            shared = share_picture(self.prepared(picture, values), account=key.account, now=now)
        except InvalidField as error:
            raise renamed(error, values, self.table) from None
        return self.told(shared)

    def prepared(self, picture: StoredPicture, values: Values) -> StoredPicture:
        """What of it is shared."""
        return picture

    def told(self, shared: Artifact) -> Json:
        """The body."""
        return {"status": "success", "id": shared.pk, "output": [link_of(shared)]}


class Base64ToUrlView(UploadView):
    """base64_to_url."""

    table = UPLOAD_BASE64


class Base64CropView(UploadView):
    """/api/v3/base64_crop: for pictures to train on, which are square."""

    table = UPLOAD_CROPPED

    def prepared(self, picture: StoredPicture, values: Values) -> StoredPicture:
        return crop_to_square(picture, now=clock.now()) if values.get("is_cropped", True) else picture

    def told(self, shared: Artifact) -> Json:
        return render.said(UPLOADED, link=link_of(shared), request_id=shared.pk)


class UploadImageView(UploadView):
    """enterprise/upload_image."""

    table = UPLOAD_IMAGE

    def told(self, shared: Artifact) -> Json:
        return render.said(UPLOADED, image_url=link_of(shared))


class DeleteImageView(GeneralView):
    """/api/v3/delete_image: all images of one request."""

    scope = Scope.JOBS_CANCEL
    table = DELETE_IMAGE

    def act(self, key: ApiKey, values: Values) -> Json:
        job_id: int = values.get("job_id", 0)
        if values.get("type", IMAGE_TYPE) != IMAGE_TYPE:
            raise NotFound(what="Request", id=str(job_id))
        delete_images(job=access_job(account=key.account, job_id=job_id), actor=key.ref, now=clock.now())
        return render.said("image deleted")


class AssetsGeneratedView(GeneralView):
    """What the account made and what is still there, newest first."""

    table = ASSETS_GENERATED

    def act(self, key: ApiKey, values: Values) -> Json:
        page: int = values.get("page", 1)
        per_page: int = values.get("per_page", MAX_PER_PAGE)
        is_image = values.get("type", IMAGE_TYPE) == IMAGE_TYPE
        made = list_made(account=key.account, now=clock.now(), page=page, per_page=per_page)
        total = made.total if is_image else 0
        first = (page - 1) * per_page + 1
        items = [_asset(job, images) for job, images in made.items] if is_image else []
        return {
            "status": "success",
            "data": items,
            "pagination": {
                "current_page": page,
                "per_page": per_page,
                "total": total,
                "last_page": max(1, -(-total // per_page)),
                "from": first if items else None,
                "to": first + len(items) - 1 if items else None,
            },
        }


class RequestCountView(GeneralView):
    """How many of the account's requests are open."""

    def act(self, key: ApiKey, values: Values) -> Json:
        count = count_open(account=key.account)
        are = "1 request is" if count == 1 else f"{count} requests are"
        return render.said(f"{are} queued or being processed", processing_count=count)


class WalletView(GeneralView):
    """What is left: of the wallet and of credit, or of the day's calls where money plays no part."""

    def act(self, key: ApiKey, values: Values) -> Json:
        entitlements = get_entitlements(account=key.account)
        if not isinstance(entitlements.included_calls_per_month, Unlimited):
            return {"status": "success", "data": _money(key)}
        usage = get_usage(account=key.account, entitlements=entitlements, now=clock.now())
        balance: int | str = "unlimited" if isinstance(usage.remaining, Unlimited) else usage.remaining
        return {"status": "success", "data": {"balance": balance, "currency": CALLS}}


CALLS: Final = "calls"
DOLLARS: Final = "USD"


def _money(key: ApiKey) -> Json:
    """Dollars, as a number: JSON's, exact to the micro-dollar for any balance there will be."""
    have = balances(key.account, clock.now())
    return {"balance": (have.wallet_micro + have.promo_micro) / MICRO_PER_USD, "currency": DOLLARS}


class SubscriptionsView(GeneralView):
    """The account's one plan."""

    def act(self, key: ApiKey, values: Values) -> Json:
        plan = get_entitlements(account=key.account)
        return {
            "status": "success",
            "data": [
                {
                    "plan": plan.plan_code,
                    "status": "active",
                    "calls_per_day": _limit(plan.daily_calls),
                    "queue_depth": _limit(plan.queue_depth),
                    "max_samples": plan.max_samples,
                    "features": sorted(plan.kinds),
                }
            ],
        }


class NotOfferedView(ModelsLabView):
    """Paths of the contract that this server has nothing for: 400 in the dialect's shape."""

    what: str = "This"
    advice: str = ""

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        self.identify(http, {**read_query(http), **read_fields(http)}, Scope.JOBS_READ)
        raise NotOffered(what=self.what, advice=self.advice)

    def get(self, request: Request) -> HttpResponse:
        return self.post(request)


def link_of(shared: Artifact) -> str:
    """To a picture that was uploaded."""
    return artifact_url(
        group=shared.group, index=shared.index, extension=shared.extension, expires_at=shared.expires_at
    )


def _asset(job: GenerationJob, images: Sequence[Artifact]) -> Json:
    return {"id": job.pk, "output": render.links_of(job, images)}


def _limit(value: int | Unlimited) -> int | str:
    return "unlimited" if isinstance(value, Unlimited) else value
