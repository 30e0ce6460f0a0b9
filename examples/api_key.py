"""Let in only those who know a key, and tell the upstream who they are."""

from __future__ import annotations

from pyrox import HTTPError, Middleware, Request, Response
from pyrox.middleware import App


class RequireKey(Middleware):
    """Answers 401 unless the request carries a known key.

    * ``keys``: from tenant to key; the upstream gets the tenant as X-Tenant.
    * ``header``: the field that carries the key.
    """

    def __init__(self, app: App, keys: dict[str, str], header: str = "X-API-Key") -> None:
        super().__init__(app)
        if not keys:
            raise ValueError("keys: there is none, so nobody could come in")
        if "" in keys.values():
            raise ValueError("keys: one is empty, so everybody could come in")
        self.tenants = {key: tenant for tenant, key in keys.items()}
        self.header = header

    def __call__(self, request: Request) -> Response:
        tenant = self.tenants.get(request.headers.get(self.header, ""))
        if tenant is None:
            raise HTTPError(401, "who are you?", {"WWW-Authenticate": "ApiKey"})
        request.headers.discard(self.header)  # the upstream need not know it
        request.headers["X-Tenant"] = tenant  # replaces what a client may claim
        response = self.app(request)
        response.headers["X-Served-By"] = "pyrox"
        return response
