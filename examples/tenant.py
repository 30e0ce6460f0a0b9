"""The first part of the path names the tenant; what ``legacy_tenant.py`` was moved to."""

from pyrox import BodyFilter, Middleware, Request, Response
from pyrox.middleware import App


class Tenant(Middleware):
    def __init__(self, app: App, prefix: str = "/t/") -> None:
        super().__init__(app)
        self.prefix = prefix

    def __call__(self, request: Request) -> Response:
        if not request.target.startswith(self.prefix):
            return Response(404)
        tenant, _, rest = request.target[len(self.prefix) :].partition("/")
        request.target = f"/{rest}"
        request.headers["X-Tenant"] = tenant
        response = self.app(request)
        response.headers.add("X-Tenant", tenant)
        response.filter_body(WithoutReturns())
        return response


class WithoutReturns(BodyFilter):
    def feed(self, chunk: bytes) -> bytes:
        return chunk.replace(b"\r", b"")
