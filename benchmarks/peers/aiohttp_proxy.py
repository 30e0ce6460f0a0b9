"""A reverse proxy by hand on aiohttp, as people write it: streamed, pooled, with an access log.

Usage: ``aiohttp_proxy.py PORT ORIGIN_PORT ACCESS_LOG [CERT KEY]``
"""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
    "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
ORIGIN = f"http://127.0.0.1:{sys.argv[2]}"
SESSION = web.AppKey("session", ClientSession)


async def session(app: web.Application) -> AsyncIterator[None]:
    """Hold one client session, and so one pool, for the life of the application."""
    app[SESSION] = ClientSession(
        connector=TCPConnector(limit=0), timeout=ClientTimeout(total=None), auto_decompress=False
    )
    yield
    await app[SESSION].close()


async def proxy(request: web.Request) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    headers["X-Forwarded-For"] = request.remote or ""
    headers["X-Forwarded-Proto"] = request.scheme
    body = request.content if request.can_read_body else None
    async with request.app[SESSION].request(
        request.method, ORIGIN + request.raw_path, headers=headers, data=body, allow_redirects=False
    ) as upstream:
        response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
        for name, value in upstream.headers.items():
            if name.lower() not in HOP_BY_HOP:
                response.headers.add(name, value)
        await response.prepare(request)
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


def main() -> None:
    logging.basicConfig(filename=sys.argv[3], level=logging.INFO, format="%(message)s")
    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", proxy)
    context = None
    if len(sys.argv) > 4:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[4], sys.argv[5])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), ssl_context=context, print=None, backlog=4096)


if __name__ == "__main__":
    main()
