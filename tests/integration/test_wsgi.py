"""WSGI applications as servers inside the proxy, over real sockets."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, post, record_of
from tests.support.config import Config, as_ini
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

APP = "wsgi:wsgi_apps:app"
SIZE = 1000 << 16  # of what /long sends


def route(match: str, **options: str) -> dict[str, str]:
    return {"match": match, **options}


CONFIG: Config = {
    "core": {"plugin_paths": str(PLUGINS)},
    "routing": {"upstream_hosts": APP},
    "clusters": {
        "mixed": {"servers": f"http://127.0.0.1:1, {APP} backup"},
        "flaky": {
            "servers": "wsgi:wsgi_apps:do_unavailable, wsgi:wsgi_apps:valid_echo backup",
            "retry_on": "503,",
        },
        "hedged": {
            "servers": "wsgi:wsgi_apps:do_sleeps, wsgi:wsgi_apps:valid_echo backup",
            "hedge_after": "0.05",
        },
    },
    "timeouts": {"upstream_first_byte": 0.2},
    "logging": {"access_log_format": "json"},
    "routes": {
        "hello": route(
            "PathPrefix(`/valid/hello`)", cluster="wsgi:wsgi_apps:valid_hello", strip_prefix="/valid"
        ),
        "echo": route("PathPrefix(`/valid/echo`)", cluster="wsgi:wsgi_apps:valid_echo"),
        "werkzeug": route("PathPrefix(`/w`)", cluster="wsgi:wsgi_apps:werkzeug_app", strip_prefix="/w"),
        "fallback": route("Host(`down.test`)", cluster="http://127.0.0.1:1", fallback=APP),
        "mixed": route("Host(`mixed.test`)", cluster="mixed"),
        "flaky": route("Host(`flaky.test`)", cluster="flaky"),
        "hedged": route("Host(`hedged.test`)", cluster="hedged", upstream_first_byte="0"),
        "short": route("Host(`short.test`)", cluster=APP, max_body_size="10"),
        "late": route("Host(`late.test`)", cluster=APP, exchange="0.2", upstream_first_byte="0"),
    },
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(CONFIG) as proxy:
        yield proxy


def counts(proxy: Proxy) -> dict[str, int]:
    with Client(proxy.address) as client:
        return json.loads(client.ask(get("/counts")).body)  # type: ignore[no-any-return]


def at(host: str, target: str) -> bytes:
    return get(target).replace(b"a.test", host.encode())


def chunked(target: str, *pieces: bytes, fields: tuple[str, ...] = ()) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return get(target, "Transfer-Encoding: chunked", *fields, method="POST") + chunks + b"0\r\n\r\n"


# --- what PEP 3333 says


def test_validator_has_no_objection(client: Client) -> None:
    answer = client.ask(get("/valid/hello/x"))
    assert (answer.status, answer.body) == (200, b"hello /valid")
    assert client.ask(get("/valid/hello", method="HEAD"), "HEAD").status == 200
    assert client.ask(post("/valid/echo", b"known length")).body == b"known length"
    assert client.ask(chunked("/valid/echo", b"un", b"known")).body == b"unknown"
    assert client.ask(get("/valid/echo")).body == b""


def test_environ_is_the_clients_request(client: Client) -> None:
    environ = json.loads(client.ask(get("/environ?q=%20", "X-A: 1", "x-a: 2", "Cookie: c=d")).body)
    expected = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "q=%20",
        "SERVER_NAME": "a.test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "a.test",
        "HTTP_X_A": "1, 2",
        "HTTP_COOKIE": "c=d",
        "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
    }
    assert {key: environ.get(key) for key in expected} == expected


def test_werkzeug_reads_forms_and_streams_and_knows_where_it_is(client: Client) -> None:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n--x\r\n'
        b'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\nlovelace\r\n--x--\r\n'
    )
    kind = "Content-Type: multipart/form-data; boundary=x"
    assert client.ask(post("/w/form", form, kind)).body == b"Ada lovelace"
    assert client.ask(chunked("/w/form", form[:50], form[50:], fields=(kind,))).body == b"Ada lovelace"
    assert client.ask(get("/w/stream")).body == b"0\n1\n2\n"
    assert client.ask(get("/w/a%20b?q=1")).body == b"http://a.test/w/ /w /a b 1"


def test_access_log_names_the_application(proxy: Proxy, client: Client, target: str) -> None:
    client.ask(get(f"/ignores?{target[1:]}"))
    record = record_of(proxy, f"/ignores?{target[1:]}")
    assert (record["upstream"], record["answered_by"], record["status"]) == (APP, "upstream", 200)


def test_connection_goes_on_after_each_kind_of_body(client: Client) -> None:
    for _ in range(2):
        assert client.ask(post("/ignores", b"nobody reads this")).body == b"ignored"
        assert client.ask(get("/writes")).body == b"written returned"
        assert client.ask(get("/too_long")).body == b"1234567"
        head = client.ask(get("/long_known", method="HEAD"), "HEAD")
        assert (head.status, head.get("content-length")) == (200, b"%d" % SIZE)


def test_complaints_are_in_the_error_log(proxy: Proxy, client: Client) -> None:
    client.ask(get("/writes"))
    proxy.wait_for_log(f"{APP}: a complaint")


# --- streams


@pytest.mark.parametrize("target", ["/long", "/long_known"])
def test_application_is_asked_for_no_more_than_the_client_takes(
    proxy: Proxy, client: Client, target: str
) -> None:
    before = counts(proxy)
    client.send(get(target))
    head = client.read_response_head()
    taken = [counts(proxy)["taken"] - before["taken"] for _ in range(20)]
    assert taken[-1] < 1000
    assert sum(map(len, client.stream_body_of(head))) == SIZE
    proxy.wait_until(lambda: counts(proxy)["closed"] == before["closed"] + 1, "the close of the iterable")


def test_client_that_leaves_closes_the_iterable(proxy: Proxy) -> None:
    before = counts(proxy)
    with Client(proxy.address) as client:
        client.send(get("/long"))
        client.read_response_head()
        client.reset()
    proxy.wait_until(lambda: counts(proxy)["closed"] == before["closed"] + 1, "the close of the iterable")
    assert counts(proxy)["taken"] < before["taken"] + 1000


def test_stream_that_waits_is_interrupted_when_its_client_leaves(proxy: Proxy) -> None:
    before = counts(proxy)
    with Client(proxy.address) as client:
        client.send(get("/events"))
        client.read_response_head()
    proxy.wait_until(lambda: counts(proxy)["interrupted"] == before["interrupted"] + 1, "the interruption")


def test_stream_that_waits_is_interrupted_when_its_exchange_takes_too_long(
    proxy: Proxy, client: Client
) -> None:
    before = counts(proxy)
    client.send(at("late.test", "/events"))
    client.read_until_closed()
    proxy.wait_until(lambda: counts(proxy)["interrupted"] == before["interrupted"] + 1, "the interruption")


def test_body_may_be_read_while_the_answer_is_made(client: Client) -> None:
    client.send(get("/mirror", "Transfer-Encoding: chunked", method="POST") + b"4\r\none\n\r\n")
    head = client.read_response_head()
    pieces = client.stream_body_of(head)
    assert next(pieces) == b"ONE\n"
    client.send(b"4\r\ntwo\n\r\n0\r\n\r\n")
    assert b"".join(pieces) == b"TWO\n"


def test_large_upload_passes_in_pieces(client: Client) -> None:
    assert client.ask(post("/counts_bytes", bytes(8 << 20))).body == b"%d" % (8 << 20)
    assert client.ask(chunked("/counts_bytes", *[bytes(1 << 18)] * 8)).body == b"%d" % (2 << 20)


def test_reading_the_body_asks_for_it(client: Client) -> None:
    client.send(get("/counts_bytes", "Content-Length: 3", "Expect: 100-continue", method="POST"))
    assert client.read_response().status == 100
    client.send(b"abc")
    assert client.read_response().body == b"3"


def test_body_is_not_asked_for_behind_the_head_of_the_answer(client: Client) -> None:
    """The 100 would stand in the middle of the body."""
    client.send(get("/late_reader", "Content-Length: 4", "Expect: 100-continue", method="POST"))
    head = client.read_response_head()
    assert head.status == 200
    pieces = client.stream_body_of(head)
    assert next(pieces) == b"begun "
    client.send(b"abcd")
    assert b"".join(pieces) == b"abcd"


def test_body_that_is_there_already_is_not_asked_for(client: Client) -> None:
    client.send(get("/counts_bytes", "Content-Length: 3", "Expect: 100-continue", method="POST") + b"abc")
    assert client.read_response().body == b"3"


def test_body_that_nobody_reads_is_not_asked_for(client: Client) -> None:
    client.send(get("/ignores", "Content-Length: 3", "Expect: 100-continue", method="POST"))
    assert client.read_response().status == 200


# --- time


def test_application_that_gives_no_answer_is_interrupted(client: Client) -> None:
    assert client.ask(get("/sleeps")).status == 504


def test_what_a_framework_makes_of_the_interruption_is_no_answer(client: Client) -> None:
    assert client.ask(get("/catches")).status == 504
    assert client.ask(at("late.test", "/catches")).status == 504


def test_exchange_that_takes_too_long_interrupts_its_application(client: Client) -> None:
    assert client.ask(at("late.test", "/sleeps")).status == 504


@pytest.mark.parametrize(("chunk", "status"), [(b"b\r\n12345678901\r\n", 413), (b"no chunk\r\n", 400)])
def test_what_a_framework_makes_of_a_bad_body_is_no_answer(client: Client, chunk: bytes, status: int) -> None:
    head = get("/catches", "Transfer-Encoding: chunked", method="POST").replace(b"a.test", b"short.test")
    client.send(head + chunk)
    assert client.read_response().status == status


def test_slow_client_does_not_use_up_the_time_of_the_application(client: Client) -> None:
    client.send(get("/counts_bytes", "Content-Length: 3", method="POST") + b"a")
    time.sleep(1.2)  # more than upstream_first_byte and the coarseness of its clock
    client.send(b"bc")
    assert client.read_response().body == b"3"


# --- failures


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("/raises", 500, "LookupError: a mistake in an application"),
        ("/exits", 500, "SystemExit: a mistake in an application"),
        ("/splits?q", 502, "BadApplication: control character in the value of header 'X-A'"),
        ("/no/such/path", 500, "KeyError"),
    ],
)
def test_failure_is_an_error_with_one_traceback_that_names_the_application(
    proxy: Proxy, client: Client, target: str, status: int, reason: str, expected_tracebacks: None
) -> None:
    before = len(proxy.error_log())
    answer = client.ask(get(target))
    assert answer.status == status
    assert answer.get("x-evil") is None
    proxy.wait_for_log(reason)
    log = proxy.error_log()[before:]
    assert log.count("Traceback") == 1
    assert f"{APP}: <Request GET {target}> failed" in log
    assert client.ask(get("/ignores")).status == 200


@pytest.mark.parametrize("target", ["/raises_late", "/too_short"])
def test_failure_in_the_body_breaks_the_connection(
    proxy: Proxy, client: Client, target: str, expected_tracebacks: None
) -> None:
    before = len(proxy.error_log())
    client.send(get(target))
    received, ended = client.read_until_closed()
    assert ended == "reset" or not received.endswith(b"begun")
    proxy.wait_until(lambda: "aborted" in proxy.error_log()[before:], "the end of the exchange")
    assert proxy.error_log()[before:].count(f"{APP}: <Request GET {target}> failed") == 1


def test_application_takes_over_from_servers_that_are_down(client: Client) -> None:
    assert client.ask(at("down.test", "/ignores")).body == b"ignored"
    assert client.ask(at("mixed.test", "/ignores")).body == b"ignored"


def test_request_with_its_body_may_be_sent_to_another_application(client: Client) -> None:
    request = post("/", b"body", method="PUT").replace(b"a.test", b"flaky.test")
    assert client.ask(request).body == b"body"
    client.send(request[:-2])
    client.send(request[-2:])
    assert client.read_response().body == b"body"


def test_application_that_takes_long_is_given_up_for_another(client: Client) -> None:
    request = post("/", b"body", method="PUT").replace(b"a.test", b"hedged.test")
    for _ in range(2):
        assert client.ask(request).body == b"body"


def test_workers_say_that_they_are_several() -> None:
    with running_proxy(
        {**CONFIG, "core": {"plugin_paths": str(PLUGINS), "processes": 2}}, workers=2
    ) as proxy:
        with Client(proxy.address) as client:
            assert json.loads(client.ask(get("/environ")).body)["wsgi.multiprocess"] is True


# --- reload


def test_hup_takes_new_code_and_refuses_what_cannot_be_imported(tmp_path: Path) -> None:
    module = tmp_path / "reloaded_app.py"

    def write(text: str) -> None:
        module.write_text(
            f"def app(environ, start_response):\n    start_response('200 OK', [])\n    {text}\n"
        )

    write("return [b'old']")
    config: Config = {
        "core": {"plugin_paths": str(tmp_path)},
        "routing": {"upstream_hosts": "wsgi:reloaded_app:app"},
    }

    def body() -> bytes:
        with Client(proxy.address) as client:
            return client.ask(get()).body

    with running_proxy(config) as proxy:
        assert body() == b"old"
        write("return [b'new']")
        proxy.signal(signal.SIGHUP)
        proxy.wait_until(lambda: body() == b"new", "the new code")
        proxy.wait_until(lambda: len(proxy.worker_pids()) == 1, "the end of the old worker")
        config = {**config, "routing": {"upstream_hosts": "wsgi:reloaded_app:ap"}}
        (proxy.folder / "pyrox.ini").write_text(as_ini(config, proxy.folder))
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log("reloaded_app has no ap; did you mean app?")
        assert body() == b"new"
