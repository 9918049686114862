"""An HTTP client for tests that sends bodies as they are and shows 500s instead of raising."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

V6 = "/api/v6/images/text2img"
V7 = "/api/v7/images/text-to-image"
PROMPT = {"model_id": "tiny", "prompt": "a red fox"}


class ApiClient:
    """Speaks for the holder of one key."""

    def __init__(self, key: str | None) -> None:
        self.http = Client(raise_request_exception=False)
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """POST JSON; `body` may be text or bytes that are sent unchanged."""
        data = body if isinstance(body, bytes | str) else json.dumps({} if body is None else body)
        return self.http.post(path, data, "application/json", headers=self.headers | _names(headers))

    def get(self, path: str, **headers: str) -> Any:
        return self.http.get(path, headers=self.headers | _names(headers))

    def delete(self, path: str) -> Any:
        return self.http.delete(path, headers=self.headers)

    def submit(self, path: str = V6, **fields: Any) -> Any:
        """A request that is fine but for what `fields` say."""
        return self.post(path, PROMPT | fields)


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
