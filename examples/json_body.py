"""Read and change JSON bodies on their way, in both directions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pyrox import Headers, HTTPError, Middleware, Request, Response
from pyrox.middleware import App


class RedactJson(Middleware):
    """Replaces the values of some fields by ``"***"`` in JSON requests and responses.

    * ``fields``: names of object members, at any depth.
    * ``limit``: the longest body that is read, in bytes; a longer request gets a 413, a longer response
      becomes a 502.
    """

    def __init__(self, app: App, fields: Sequence[str], limit: int = 1 << 20) -> None:
        super().__init__(app)
        self.fields = frozenset(fields)
        self.limit = limit

    def __call__(self, request: Request) -> Response:
        # A compressed answer could not be read here.
        request.headers.discard("Accept-Encoding")
        if is_json(request.headers):
            try:
                value = request.json(self.limit)
            except (ValueError, RecursionError) as error:
                raise HTTPError(400, f"this is not JSON: {error}") from error
            request.body = json.dumps(self.redact(value))
        response = self.app(request)
        if is_json(response.headers) and "content-encoding" not in response.headers:
            response.body = json.dumps(self.redact(response.json(self.limit)))
        return response

    def redact(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: "***" if key in self.fields else self.redact(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.redact(item) for item in value]
        return value


def is_json(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
