"""A fake of OpenStack Identity (Keystone), versions 3 and 2.0, on a socket of its own.

As strict as the real one about what it is asked: JSON bodies, scopes, who may validate tokens, error
documents. Tests issue and revoke tokens, and make it fail.
"""

from __future__ import annotations

import json
import secrets
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

USER, PASSWORD, PROJECT = "pyrox", "s3cret", "service"
_TITLES = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 400: "Bad Request"}
Json = dict[str, Any]


class IdentityService:
    """Use it in a ``with`` statement; ``asked`` lists ``"GET /v3/auth/tokens"`` and the like, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.tokens: dict[str, Json] = {}  # what v3 says of each token of a client's
        self.own: set[str] = set()  # tokens that may validate others
        self.own_life = 3600.0  # seconds
        self.may_validate = True
        self.answer: tuple[int, dict[str, str], bytes] | None = None  # given to whatever is asked
        self.gate = threading.Event()  # nothing is answered while it is not set
        self.gate.set()
        self.arrived = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> IdentityService:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def issue(
        self, name: str = "ada", *, life: float = 600.0, roles: tuple[str, ...] = (), **more: Any
    ) -> str:
        """Make a token of a client's; ``more`` is put into what is said of it."""
        token = "gAAAAAB" + secrets.token_urlsafe(100)
        user = {"id": f"id-of-{name}", "name": name, "domain": {"id": "default", "name": "Default"}}
        project = {"id": "p-1", "name": "demo", "domain": {"id": "default", "name": "Default"}}
        self.tokens[token] = {
            "methods": ["password"],
            "user": {**user, "password_expires_at": None, **more.pop("user", {})},
            "audit_ids": [secrets.token_urlsafe(16)],
            "expires_at": in_seconds(life),
            "issued_at": in_seconds(0),
            "project": project,
            "is_domain": False,
            "roles": [{"id": f"id-of-{role}", "name": role} for role in roles],
            **more,
        }
        return token

    def revoke_own(self) -> None:
        """Let the tokens that Pyrox has signed in for be valid no more."""
        self.own.clear()

    def count(self, request: str) -> int:
        return self.asked.count(request)


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _handler_of(service: IdentityService) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.service = service
    return Handler


class _Handler(BaseHTTPRequestHandler):
    service: IdentityService
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # or each line would be a packet of its own, and wait for the one before

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = urlsplit(self.path)
        self.service.asked.append(f"{method} {parts.path}")
        self.service.arrived.set()
        self.service.gate.wait(30)
        if self.service.answer is not None:
            status, fields, content = self.service.answer
            self._send(status, content, fields)
        elif (method, parts.path) == ("POST", "/v3/auth/tokens"):
            self._sign_in_v3(body, "nocatalog" in parts.query)
        elif (method, parts.path) == ("GET", "/v3/auth/tokens"):
            self._validate_v3("nocatalog" in parts.query)
        elif (method, parts.path) == ("POST", "/v2.0/tokens"):
            self._sign_in_v2(body)
        elif method == "GET" and parts.path.startswith("/v2.0/tokens/"):
            self._validate_v2(unquote(parts.path.removeprefix("/v2.0/tokens/")))
        else:
            self._fail(404, "The resource could not be found.")

    def _sign_in_v3(self, body: bytes, without_catalog: bool) -> None:
        auth = self._json(body).get("auth", {})
        identity = auth.get("identity", {})
        user = identity.get("password", {}).get("user", {})
        known = {"name": USER, "password": PASSWORD, "domain": {"name": "Default"}}
        scope = auth.get("scope", {"project": {"name": PROJECT, "domain": {"name": "Default"}}})
        if identity.get("methods") != ["password"] or user != known or scope["project"]["name"] != PROJECT:
            self._fail(401, "The request you have made requires authentication.")
            return
        token = self._new_own()
        said = {
            "methods": ["password"],
            "user": {"id": "id-of-pyrox", "name": USER},
            "issued_at": in_seconds(0),
        }
        said |= {"expires_at": in_seconds(self.service.own_life), "audit_ids": ["x"]}
        said |= {} if without_catalog else {"catalog": []}
        self._send_json(201, {"token": said}, {"X-Subject-Token": token})

    def _validate_v3(self, without_catalog: bool) -> None:
        if not self._may_ask():
            return
        subject = self.headers.get("X-Subject-Token")
        if subject is None:
            self._fail(400, "X-Subject-Token is missing.")
        elif subject not in self.service.tokens:
            self._fail(404, f"Could not find token: {subject}.")
        else:
            catalog = {} if without_catalog else {"catalog": [{"type": "identity", "endpoints": []}]}
            said = {"token": {**self.service.tokens[subject], **catalog}}
            self._send_json(200, said, {"X-Subject-Token": subject})

    def _sign_in_v2(self, body: bytes) -> None:
        auth = self._json(body).get("auth", {})
        if auth.get("passwordCredentials") != {"username": USER, "password": PASSWORD}:
            self._fail(401, "Unable to authenticate user with credentials provided.")
            return
        token = {"id": self._new_own(), "expires": in_seconds(self.service.own_life)}
        self._send_json(200, {"access": {"token": token, "user": {"id": "id-of-pyrox", "name": USER}}})

    def _validate_v2(self, subject: str) -> None:
        if not self._may_ask():
            return
        said = self.service.tokens.get(subject)
        if said is None:
            self._fail(404, "Token not found")
            return
        tenant = {name: said["project"][name] for name in ("id", "name")}
        token = {"id": subject, "expires": said["expires_at"], "tenant": tenant}
        user = {**said["user"], "roles": said["roles"]}
        self._send_json(200, {"access": {"token": token, "user": user}})

    def _may_ask(self) -> bool:
        if self.headers.get("X-Auth-Token") not in self.service.own:
            self._fail(401, "The request you have made requires authentication.")
            return False
        if not self.service.may_validate:
            self._fail(403, "You are not authorized to perform the requested action.")
        return self.service.may_validate

    def _new_own(self) -> str:
        token = "own-" + secrets.token_urlsafe(32)
        self.service.own.add(token)
        return token

    def _json(self, body: bytes) -> Json:
        assert self.headers["Content-Type"] == "application/json"
        document: Json = json.loads(body)
        return document

    def _fail(self, status: int, message: str) -> None:
        error = {"code": status, "message": message, "title": _TITLES[status]}
        fields = {"WWW-Authenticate": f'Keystone uri="{self.service.url}"'} if status == 401 else {}
        self._send_json(status, {"error": error}, fields)

    def _send_json(self, status: int, document: Json, fields: dict[str, str] | None = None) -> None:
        content = json.dumps(document).encode()
        self._send(
            status, content, {"Content-Type": "application/json", "Vary": "X-Auth-Token", **(fields or {})}
        )

    def _send(self, status: int, content: bytes, fields: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**fields, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
