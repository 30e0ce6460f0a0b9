"""Middleware that answers with what it knows of the client's certificate."""

from __future__ import annotations

from pyrox import Middleware, Request, Response


class WhoIsIt(Middleware):
    def __call__(self, request: Request) -> Response:
        assert request.client is not None
        certificate = request.client.certificate
        return Response(200, f"{certificate.subject} {certificate.names[0]}" if certificate else "nobody")
