"""Management of the server itself, as ModelsLab's enterprise customers call it: for the operator.

The contract has a server for each family of endpoints; here one does everything, whichever is named.
"""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from apps.api.modelslab.errors import NotOffered
from apps.api.modelslab.models_enterprise import ClearCacheView, EnterpriseView, SystemDetailsView
from apps.api.modelslab.models_views import json_response
from apps.api.modelslab.render import said
from apps.core import clock
from apps.generation.queue_control import clear_queue, restart_workers

__all__ = [
    "ClearCacheView",
    "ClearQueueView",
    "RestartView",
    "StorageView",
    "SystemDetailsView",
    "UpdateView",
]


class ClearQueueView(EnterpriseView):
    """Cancels what waits; what is being made is finished, and nothing needs a restart."""

    def post(self, request: Request) -> HttpResponse:
        key = self.operator(request._request, self.asked(request._request))
        count = clear_queue(actor=key.ref, now=clock.now())
        were = "1 request was" if count == 1 else f"{count} requests were"
        message = f"Queue cleared successfully, {were} canceled"
        return json_response(said(message))


class RefusingView(EnterpriseView):
    """What only somebody at the machine can do."""

    what = ""
    advice = ""

    def post(self, request: Request) -> HttpResponse:
        self.operator(request._request, self.asked(request._request))
        raise NotOffered(what=self.what, advice=self.advice)

    def get(self, request: Request) -> HttpResponse:
        return self.post(request)


class RestartView(EnterpriseView):
    """New processes in the place of those that generate; what they were at is finished or done again.

    Web processes hold nothing that a restart would mend, and answer all the while.
    """

    def post(self, request: Request) -> HttpResponse:
        key = self.operator(request._request, self.asked(request._request))
        restart_workers(actor=key.ref, now=clock.now())
        return json_response(said("server restarting", server_status="restarting"))


class UpdateView(RefusingView):
    what = "Updating over the API"
    advice = ": its operator updates it by installing a newer version"


class StorageView(RefusingView):
    what = "Storage on S3"
    advice = ": images are kept on the server's own disk, and deleted when their links end"
