"""Choose where a request goes by its path."""

from __future__ import annotations

from pyrox import Middleware, Request, Response
from pyrox.middleware import App


class RouteByPath(Middleware):
    """Sends requests below a path to a server of their own; all others go where the router says.

    * ``routes``: from path to ``http://host:port``; the longest path that fits wins.
    * ``strip``: take the path away from what the server is asked for.
    """

    def __init__(self, app: App, routes: dict[str, str], strip: bool = False) -> None:
        super().__init__(app)
        for path, destination in routes.items():
            if not path.startswith("/"):
                raise ValueError(f"routes: {path!r} does not start with /")
            Request("GET", path).route_to(destination)  # raises ValueError for what is no destination
        self.routes = sorted(routes.items(), key=lambda route: len(route[0]), reverse=True)
        self.strip = strip

    def __call__(self, request: Request) -> Response:
        for path, destination in self.routes:
            if request.path == path or request.path.startswith(path.rstrip("/") + "/"):
                request.route_to(destination)
                if self.strip:
                    request.target = "/" + request.target.removeprefix(path).lstrip("/")
                break
        return self.app(request)
