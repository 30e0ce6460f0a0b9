"""A reverse proxy on proxy.py: its own plugin for that, with one route for everything.

Usage: ``proxy_py.py PORT ORIGIN_PORT ACCESS_LOG [CERT KEY]``
"""

from __future__ import annotations

import sys

import proxy
from proxy.http.parser import HttpParser
from proxy.http.server import ReverseProxyBasePlugin
from proxy.http.url import Url

ORIGIN = f"http://127.0.0.1:{sys.argv[2]}".encode()


class ToOrigin(ReverseProxyBasePlugin):
    """Sends every request to the origin, by the path it came with."""

    def routes(self) -> list[str]:
        return [r"/.*"]

    def handle_route(self, request: HttpParser, _pattern: object) -> Url:
        return Url.from_bytes(ORIGIN + (request.path or b"/"))


def main() -> None:
    port, _, access_log, *certificate = sys.argv[1:]
    options = ["--hostname", "127.0.0.1", "--port", port, "--log-file", access_log, "--backlog", "4096"]
    options += ["--num-acceptors", "1", "--num-workers", "1", "--enable-reverse-proxy"]
    if certificate:
        options += ["--cert-file", certificate[0], "--key-file", certificate[1]]
    with proxy.Proxy(options, plugins=[ToOrigin]):
        proxy.sleep_loop()


if __name__ == "__main__":
    main()
