"""``RedirectToHttps``: what a listener for plain HTTP answers when TLS is spoken on another."""

from __future__ import annotations

import re

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response

# The name or address of an authority that was found valid already, less what no server's name has:
# RFC 3986 would also let sub-delimiters, percent-encoding and zones stand in a URL.
_host_of = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?").fullmatch


class RedirectToHttps:
    """Answers every request with the same URL under https, at ``port``.

    GET and HEAD get a 301, which everybody knows; what a client must not turn into a GET, a 308.
    """

    def __init__(self, port: int) -> None:
        self._port = f":{port}" if port != 443 else ""

    def __call__(self, request: Request) -> Response:
        """Answer; raises ``HTTPError`` 400 when the request does not say which host it is for."""
        host = _host_of(request.host)
        if host is None:
            # Without one there is no URL; and whatever a URL could be made of here, a client has made up.
            raise HTTPError(400, "This server speaks https; the request has no host to be asked there.")
        target = request.target if request.target.startswith("/") else "/"  # "*" is no part of a URL
        location = f"https://{host[1]}{self._port}{target}"
        status = 301 if request.method in ("GET", "HEAD") else 308
        response = Response(status, f"{location}\n", {"Location": location})
        response.made_by = "pyrox"
        return response
