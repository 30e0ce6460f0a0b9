"""The test client takes a request down the engine's road, without a network."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrox.errors import ConfigError, HTTPError, UpstreamTimeout
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.middleware import App, BodyFilter, Middleware
from pyrox.testing import ClientResponse, TestClient


class Mark(Middleware):
    def __init__(self, app: App, mark: str = "m") -> None:
        super().__init__(app)
        self.mark = mark

    def __call__(self, request: Request) -> Response:
        response = self.app(request)
        response.headers.add("X-Mark", self.mark)
        return response


class Raise(Middleware):
    def __init__(self, app: App, error: Exception) -> None:
        super().__init__(app)
        self.error = error

    def __call__(self, request: Request) -> Response:
        self.app(request)
        raise self.error


class Upper(BodyFilter):
    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        self.chunks.append(chunk)
        return chunk.upper()

    def finish(self) -> bytes:
        return b"!"


def mark(app: App) -> App:
    return Mark(app, "function")


def marks(answer: ClientResponse) -> list[str]:
    return answer.headers.get_all("x-mark")


# --- what a stack can be ---


def test_stack_of_every_kind_of_layer_is_outermost_first() -> None:
    instance = Mark(lambda request: Response(500), "instance")
    layers = [Mark, (Mark, {"mark": "options"}), mark, instance, ("named", mark)]
    assert marks(TestClient(layers).get("/")) == ["function", "instance", "function", "options", "m"]


@pytest.mark.parametrize(
    "layer", [Mark, (Mark, {}), mark, Mark(lambda request: Response(500)), ("named", Mark)]
)
def test_stack_may_be_a_single_layer(layer: object) -> None:
    assert len(marks(TestClient(layer).get("/"))) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "name"),
    [((Raise, {"error": HTTPError(400)}), "Raise"), (("r", lambda app: Raise(app, HTTPError(400))), "r")],
)
def test_answer_is_made_by_the_layer_of_that_name(layer: object, name: str) -> None:
    assert TestClient([Mark, layer]).get("/").made_by == name  # type: ignore[list-item]


def test_whole_configured_stack_runs_from_text_and_from_a_file(tmp_path: Path) -> None:
    text = """
        [middleware]
        stack = headers, request_id
        [[headers]]
        response_add = X-Mark: ini
        """
    path = tmp_path / "pyrox.ini"
    path.write_text(text)
    for config in (text, path, str(path)):
        assert marks(TestClient.from_config(config, Response(200)).get("/")) == ["ini"]


def test_configuration_decides_who_is_trusted_and_how_long_a_head_may_be() -> None:
    client = TestClient.from_config(
        """
        [http]
        trusted_proxies = 10.0.0.0/8
        [limits]
        head_fields = 5
        """
    )
    claim = {"X-Forwarded-For": "192.0.2.1"}
    client.get("/", headers=claim, client_address="10.0.0.1")
    client.get("/", headers=claim, client_address="11.0.0.1")
    assert [seen.client_address for seen in client.upstream_requests] == ["192.0.2.1", "11.0.0.1"]
    assert client.get("/", headers=[("X-A", "a")] * 6).status == 431


def test_peer_at_a_unix_socket_may_be_trusted() -> None:
    client = TestClient(client_address="unix", trusted=True)
    client.get("/", headers={"X-Forwarded-For": "192.0.2.1"})
    assert client.upstream_requests[0].client_address == "192.0.2.1"


def test_bad_configuration_raises_as_it_would_at_start_up() -> None:
    with pytest.raises(ConfigError, match=r"\[\[headers\]\] response_sett: unknown option; did you mean"):
        TestClient.from_config("[middleware]\nstack = headers\n[[headers]]\nresponse_sett = a\n")


# --- what upstream is and sees ---


def test_default_upstream_answers_200_with_nothing() -> None:
    answer = TestClient().get("/")
    assert (answer.status, answer.reason, answer.body, answer.made_by) == (200, "OK", b"", "upstream")


def test_upstream_may_be_one_response_for_all_requests() -> None:
    client = TestClient(Mark, upstream=Response(201, "hello", {"X-A": "1"}))
    for _ in range(2):
        answer = client.get("/")
        assert (answer.status, answer.text, answer.headers["x-a"], marks(answer)) == (
            201,
            "hello",
            "1",
            ["m"],
        )


def test_upstream_may_be_a_table() -> None:
    client = TestClient(
        upstream={
            "/a": Response(200, "a"),
            "/a?x": Response(200, "x"),
            "/f": lambda r: Response(200, r.query),
        }
    )
    assert [client.get(target).text for target in ("/a", "/a?x", "/a?y", "/f?q=1")] == ["a", "x", "a", "q=1"]
    assert client.get("/b").status == 404


def test_upstream_sees_what_the_stack_made_of_the_request() -> None:
    upper = Upper()

    def change(app: App) -> App:
        def middleware(request: Request) -> Response:
            request.method, request.target = "PUT", "/changed"
            request.headers["X-New"] = "1"
            request.headers["Connection"] = "x-new"
            request.state["seen"] = True
            request.route_to("http://10.0.0.1:81")
            request.filter_body(upper)
            return app(request)

        return middleware

    client = TestClient(change, upstream=lambda request: Response(200, request.read_body()))
    answer = client.post("/", body=[b"a", b"", b"bc"])
    [seen] = client.upstream_requests
    assert (seen.method, seen.target, seen.route, seen.state) == (
        "PUT",
        "/changed",
        "http://10.0.0.1:81",
        {"seen": True},
    )
    assert seen.headers["x-new"] == "1"
    assert "connection" not in seen.headers
    assert seen.body == answer.body == b"ABC!"
    assert upper.chunks == [b"a", b"bc"]


def test_upstream_may_raise_what_the_engine_would() -> None:
    def late(request: Request) -> Response:
        raise UpstreamTimeout("after 60 s")

    answer = TestClient(Mark, upstream=late).get("/")
    assert (answer.status, answer.made_by) == (504, "pyrox")
    assert answer.headers["proxy-status"] == "pyrox; error=http_response_timeout"


# --- what the stack sees ---


def seen_by_stack(client_options: dict[str, object] | None = None, **options: object) -> Request:
    seen: list[Request] = []

    def keep(app: App) -> App:
        def middleware(request: Request) -> Response:
            seen.append(request)
            return Response(200)

        return middleware

    TestClient(keep, **(client_options or {})).request(  # type: ignore[arg-type]
        **{"method": "POST", "target": "/x", **options}  # type: ignore[arg-type]
    )
    return seen[0]


def test_request_comes_as_the_engine_parses_it() -> None:
    request = seen_by_stack(headers={"Connection": "X-Hop", "X-Hop": "1", "X-End": "2", "TE": "trailers"})
    assert request.host == "pyrox.test"
    assert "x-end" in request.headers
    assert not {"connection", "x-hop", "te"} & {name.lower() for name in request.headers}
    assert request.headers["via"] == "1.1 pyrox"


def test_host_of_the_test_s_own_is_kept() -> None:
    assert seen_by_stack(headers={"Host": "a.test"}).headers.get_all("host") == ["a.test"]


def test_client_is_whom_the_test_says() -> None:
    request = seen_by_stack(
        {"client_address": "192.0.2.7", "tls": True}, headers={"X-Forwarded-For": "10.9.9.9"}
    )
    assert (request.client_address, request.scheme) == ("192.0.2.7", "https")
    assert request.client is not None
    assert not request.client.trusted
    assert request.headers["x-forwarded-for"] == "192.0.2.7"


def test_trusted_client_may_speak_for_another() -> None:
    request = seen_by_stack({"trusted": True}, headers={"X-Forwarded-For": "192.0.2.7"})
    assert request.client is not None
    assert request.client.trusted
    assert request.client_address == "192.0.2.7"


def test_body_streams_and_can_be_read_once() -> None:
    request = seen_by_stack(body=b"abc")
    assert request.content_length == 3
    assert not isinstance(request.body, bytes)
    assert list(request.stream()) == [b"abc"]
    assert list(request.stream()) == []


def test_json_is_sent_as_json() -> None:
    request = seen_by_stack(json={"a": 1})
    assert request.headers["content-type"] == "application/json"
    assert request.json() == {"a": 1}


def test_empty_body_is_empty() -> None:
    assert seen_by_stack().body == b""


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"target": "no-slash"}, 400),
        ({"target": "/a b"}, 400),
        ({"target": "/" + "a" * 9000}, 414),
        ({"headers": {"Host": "a b"}}, 400),
        ({"method": "BREW"}, 501),
        ({"headers": {"X-Big": "x" * 40000}}, 431),
    ],
)
def test_request_that_the_engine_refuses_never_gets_to_the_stack(
    options: dict[str, str], status: int
) -> None:
    client = TestClient((Raise, {"error": AssertionError("the stack was asked")}))
    answer = client.request(**{"method": "GET", "target": "/", **options})  # type: ignore[arg-type]
    assert (answer.status, answer.made_by) == (status, "pyrox")


@pytest.mark.parametrize("method", ["get", "head", "options", "post", "put", "patch", "delete"])
def test_verbs(method: str) -> None:
    client = TestClient()
    getattr(client, method)("/x", headers={"X-A": "1"})
    [seen] = client.upstream_requests
    assert (seen.method, seen.target, seen.headers["x-a"]) == (method.upper(), "/x", "1")


# --- what the client gets ---


def test_response_body_passes_its_filters_after_the_stack() -> None:
    upper = Upper()

    def add_filter(app: App) -> App:
        def middleware(request: Request) -> Response:
            response = app(request)
            response.filter_body(upper)
            assert upper.chunks == []
            return response

        return middleware

    client = TestClient(add_filter, upstream=lambda _: Response(200, [b"a", b"b"], {"Content-Length": "2"}))
    answer = client.get("/")
    assert answer.body == b"AB!"
    assert upper.chunks == [b"a", b"b"]
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_response_without_a_body_by_rule_has_none(method: str, status: int) -> None:
    assert TestClient(upstream=Response(status, b"text")).request(method, "/").body == b""


def test_trailers_come_through() -> None:
    response = Response(200, b"text")
    response.trailers = Headers({"X-Sum": "7"})
    assert TestClient(upstream=response).get("/").trailers == Headers({"X-Sum": "7"})


def test_text_and_json() -> None:
    assert TestClient(upstream=Response(200, "h\xe9")).get("/").text == "h\xe9"
    latin = Response(200, b"h\xe9", {"Content-Type": "text/plain; charset=ISO-8859-1"})
    assert TestClient(upstream=latin).get("/").text == "h\xe9"
    assert TestClient(upstream=Response.json_of([1])).get("/").json() == [1]


# --- errors ---


def test_http_error_becomes_its_answer() -> None:
    client = TestClient((Raise, {"error": HTTPError(403, "not you")}))
    assert client.get("/").text == "not you\n"
    problem = client.get("/", headers={"Accept": "application/json"})
    assert problem.json()["detail"] == "not you"


def test_other_exception_is_raised_in_the_test_and_names_its_layer() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        TestClient((Raise, {"error": ZeroDivisionError("x")})).get("/")
    assert caught.value.__notes__ == ["in middleware 'Raise'"]


def test_other_exception_is_the_engine_s_500_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient((Raise, {"error": ZeroDivisionError("secret")}), raise_exceptions=False)
    answer = client.get("/")
    assert (answer.status, answer.text, answer.made_by) == (500, "500 Internal Server Error\n", "Raise")
    assert answer.headers["proxy-status"] == "pyrox; error=proxy_internal_error"
    assert caplog.records[0].levelno == logging.ERROR


# --- the end of an exchange ---


class Closing:
    """An upstream whose bodies know whether they were closed."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def __call__(self, request: Request) -> Response:
        response = Response(200, self._body())
        response.on_close(lambda: self.log.append("on_close"))
        return response

    def _body(self) -> Iterator[bytes]:
        try:
            yield b"first"
            self.log.append("read on")
            yield b"second"
        finally:
            self.log.append("closed")


def test_on_close_runs_after_the_last_byte() -> None:
    upstream = Closing()
    assert TestClient(upstream=upstream).get("/").body == b"firstsecond"
    assert upstream.log == ["read on", "closed", "on_close"]


def test_on_close_runs_for_a_response_that_a_layer_forgot() -> None:
    upstream = Closing()
    TestClient((Raise, {"error": HTTPError(400)}), upstream=upstream).get("/")
    assert upstream.log == ["on_close"]


def test_on_close_runs_when_the_stack_fails() -> None:
    upstream = Closing()
    with pytest.raises(KeyError):
        TestClient((Raise, {"error": KeyError()}), upstream=upstream).get("/")
    assert upstream.log == ["on_close"]


class Broken(BodyFilter):
    def feed(self, chunk: bytes) -> bytes:
        raise ValueError("in the middle")


def test_failure_while_the_body_streams_is_raised_after_on_close() -> None:
    upstream = Closing()

    def add_filter(app: App) -> App:
        def middleware(request: Request) -> Response:
            response = app(request)
            response.filter_body(Broken())
            return response

        return middleware

    with pytest.raises(ValueError, match="in the middle"):
        TestClient(add_filter, upstream=upstream, raise_exceptions=False).get("/")
    assert upstream.log == ["closed", "on_close"]


def failing_callbacks(*errors: Exception) -> TestClient:
    def upstream(request: Request) -> Response:
        response = Response(200)
        for error in errors:
            response.on_close(lambda error=error: fail(error))
        return response

    def fail(error: Exception) -> None:
        raise error

    return TestClient(upstream=upstream)


def test_failure_of_a_callback_is_raised_in_the_test() -> None:
    with pytest.raises(KeyError):
        failing_callbacks(KeyError("a")).get("/")
    with pytest.raises(ExceptionGroup) as caught:
        failing_callbacks(KeyError("a"), ValueError("b")).get("/")
    assert [type(error) for error in caught.value.exceptions] == [KeyError, ValueError]


def test_failure_of_a_callback_is_logged_as_the_engine_does_when_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = failing_callbacks(KeyError("a"))
    client.raise_exceptions = False
    assert client.get("/").status == 200
    assert [record.getMessage() for record in caplog.records] == ["an on_close callback failed"]
