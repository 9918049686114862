"""Which pages get which policy; the policy itself stands in the settings."""

from __future__ import annotations

from csp.constants import UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

CONSOLE_PREFIX = "/console"
# The console's pages have small styles and scripts of their own in them.
CONSOLE_UPDATE = {"script-src": [UNSAFE_INLINE], "style-src": [UNSAFE_INLINE]}


class HtmlPolicyMiddleware(CSPMiddleware):
    """Adds the policy to pages; answers that are data have no use for it."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.headers.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path.startswith(CONSOLE_PREFIX) and not report_only and parts.update is None:
            parts.update = CONSOLE_UPDATE
        return parts
