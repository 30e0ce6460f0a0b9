"""TLS on both sides: listeners with a certificate, https upstreams that are verified."""

from __future__ import annotations

import select
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.integration.conftest import PLUGINS, Certificates
from tests.integration.kit import (
    CHUNKED_HEAD,
    get,
    pattern,
    post,
    record_of,
    response,
    start_tls,
    tell,
    tls_client,
    via,
)
from tests.support.config import Config
from tests.support.origin import (
    OK,
    Origin,
    OriginConnection,
    Script,
    close,
    expect_bytes,
    expect_close,
    expect_head,
    expect_request,
    half_close,
    hang,
    send,
    serve,
    wait,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client, PeerClosed

MIB = 1 << 20
ROUTED: Config = {
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"access_log_format": "json", "verbosity": "INFO"},
    "middleware": {"stack": "by_field", "by_field": {"class": "routing.RouteByField"}},
}


@pytest.fixture(scope="module")
def listener(certificates: Certificates) -> Iterator[Proxy]:
    """A proxy that speaks TLS to clients."""
    files = {"cert_file": str(certificates.cert_file), "key_file": str(certificates.key_file)}
    with running_proxy({**ROUTED, "ssl": files}, python_path=[PLUGINS]) as proxy:
        yield proxy


@pytest.fixture
def client(listener: Proxy, certificates: Certificates) -> Iterator[Client]:
    with tls_client(listener.address, certificates.client()) as client:
        yield client


# --- the client's side


def test_keep_alive_over_tls_serves_many_requests_on_one_connection(client: Client, target: str) -> None:
    with Origin(serve(OK)) as origin:
        assert [client.ask(get(target, via(origin))).body for _ in range(10)] == [b"ok"] * 10
        assert origin.requests[0].get("x-forwarded-proto") == b"https"
        assert len(origin.connections) == 1


def test_alpn_chooses_http_1_1(listener: Proxy, certificates: Certificates) -> None:
    context = certificates.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with tls_client(listener.address, context) as client:
        assert isinstance(client.socket, ssl.SSLSocket)
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        assert client.socket.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bodies_both_ways_over_tls_come_through_unchanged(
    listener: Proxy, certificates: Certificates, target: str, version: ssl.TLSVersion
) -> None:
    context = certificates.client()
    context.minimum_version = context.maximum_version = version
    body = b"".join(pattern(3 * MIB + 17))
    with (
        Origin(serve(lambda request: response(request.body))) as origin,
        tls_client(listener.address, context) as client,
    ):
        assert client.ask(post(target, body, via(origin))).body == body
        assert client.ask(get(target, via(origin))).status == 200


def test_curl_gets_its_answer_over_tls(listener: Proxy, certificates: Certificates, target: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with Origin(serve(OK)) as origin:
        url = f"https://localhost:{listener.port}{target}"
        command = ["curl", "-sS", "-i", "--cacert", str(certificates.ca_file), "-H", via(origin), url, url]
        output = subprocess.run([*command, "-4"], capture_output=True, timeout=30, check=True).stdout
    assert output.count(b"HTTP/1.1 200 OK") == 2
    assert output.endswith(b"ok")


def test_openssl_s_client_verifies_the_chain(listener: Proxy, certificates: Certificates) -> None:
    target = ["-connect", f"127.0.0.1:{listener.port}", "-servername", "localhost"]
    command = ["openssl", "s_client", *target, "-CAfile", str(certificates.ca_file), "-verify_return_error"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    assert b"Verification: OK" in done.stdout


@pytest.mark.parametrize(
    "noise",
    [b"", get("/"), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 600, bytes(range(256))],
    ids=["nothing", "plain HTTP", "half a ClientHello", "garbage"],
)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_what_is_no_tls_on_the_tls_port_leaves_a_clean_log_and_a_proxy_that_serves(
    listener: Proxy, client: Client, target: str, noise: bytes, end: str
) -> None:
    before = listener.fd_count()
    for _ in range(5):
        stranger = Client(listener.address)
        if noise:
            stranger.send(noise)
        stranger.close() if end == "close" else stranger.reset()
    with Origin(serve(OK)) as origin:
        assert client.ask(get(target, via(origin))).status == 200
    listener.wait_until(lambda: listener.fd_count() <= before, "return of the descriptors")


def test_client_that_speaks_no_version_we_do_is_refused(listener: Proxy, certificates: Certificates) -> None:
    context = certificates.client()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls_client(listener.address, context)
    listener.wait_for_log("TLS handshake")


def test_client_over_tls_that_sends_all_before_it_reads_gets_its_early_answer(
    listener: Proxy, client: Client, target: str
) -> None:
    client.send(get(target, "Max-Forwards: 0", f"Content-Length: {5 * MIB}", method="OPTIONS"))
    assert select.select([client.socket], [], [], 5)[0]  # the answer is here
    client.send_pieces(pattern(5 * MIB))
    answer = client.read_response()
    assert (answer.status, answer.get("connection")) == (204, b"close")


def test_client_over_tls_that_leaves_cancels_its_exchange(
    listener: Proxy, client: Client, target: str
) -> None:
    with Origin([expect_request(), expect_close()]) as origin:
        client.send(get(target, via(origin)))
        origin.wait_for_requests(1)
        client.reset()
        origin.wait_for_end()
    listener.wait_until(
        lambda: any(target in line and '"status":499' in line for line in listener.access_log()), "499"
    )


def test_tunnel_over_tls_carries_bytes_both_ways(client: Client, target: str) -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
    size = 2 * MIB
    script = [expect_request(), send(switch), expect_bytes(size), send(*pattern(size)), expect_close()]
    with Origin(script, keep=False) as origin:
        client.send(get(target, via(origin), "Connection: Upgrade", "Upgrade: talk"))
        assert client.read_response_head().status == 101
        client.send_pieces(pattern(size))
        assert client.read_exactly(size) == b"".join(pattern(size))
        client.close()
        origin.wait_for_end()


def test_upstream_that_half_closes_a_tunnel_over_tls_loses_nothing_of_the_client(
    client: Client, target: str
) -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
    size = 8 * MIB
    script = [expect_request(), send(switch), expect_bytes(MIB), half_close(), expect_bytes(size - MIB)]
    with Origin(script, keep=False) as origin:
        client.send(get(target, via(origin), "Connection: Upgrade", "Upgrade: talk"))
        assert client.read_response_head().status == 101
        client.send_pieces(pattern(size))  # the half-close comes in the middle of it
        assert origin.wait_for_end().ended == "script"


def test_upload_over_tls_to_an_upstream_that_reads_in_fits_and_starts_keeps_its_order(
    client: Client, target: str
) -> None:
    """What arrives while the upstream takes nothing must not be overtaken by what arrives later."""
    size, stopped = 12 * MIB, threading.Event()
    script = [expect_head(), tell(stopped), slowly(size), send(OK)]
    with Origin(script, keep=False) as origin:
        client.send(get(target, via(origin), f"Content-Length: {size}", method="POST"))
        stopped.wait(10)
        client.send_pieces(pattern(size, 1 << 14))
        assert client.read_final_response().status == 200
        assert origin.wait_for_end().ended == "script"


def slowly(size: int) -> Callable[[OriginConnection], None]:
    """Read ``size`` bytes of the pattern, with pauses in which every buffer on the way fills."""

    def step(connection: OriginConnection) -> None:
        for number, piece in enumerate(pattern(size, 1 << 14)):
            if number % 128 == 0:
                time.sleep(0.1)  # a slow upstream is what this is about
            assert connection.read_exactly(len(piece)) == piece

    return step


def test_body_that_is_cut_off_does_not_look_complete_over_tls(
    listener: Proxy, certificates: Certificates, target: str
) -> None:
    """To an HTTP/1.0 client the close is the end of the body, and close_notify says that it is a good one."""
    script = [expect_request(), send(CHUNKED_HEAD, b"5\r\nhello\r\n"), close()]
    with Origin(script) as origin, tls_client(listener.address, certificates.client()) as client:
        assert isinstance(client.socket, ssl.SSLSocket)
        client.socket.suppress_ragged_eofs = False
        client.send(get(target, via(origin), version="1.0"))
        with pytest.raises((ssl.SSLEOFError, PeerClosed)) as cut:
            client.read_exactly(100_000)
        assert isinstance(cut.value, ssl.SSLEOFError) or cut.value.reset


# --- the upstream's side


@pytest.fixture(scope="module")
def verifying(certificates: Certificates) -> Iterator[Proxy]:
    """A proxy that believes the tests' authority when it speaks to https upstreams."""
    config = {**ROUTED, "upstream": {"ca_file": str(certificates.ca_file)}}
    with running_proxy(config, python_path=[PLUGINS]) as proxy:
        yield proxy


def https(origin: Origin, host: str = "localhost") -> str:
    return f"X-Origin: https://{host}:{origin.port}"


def over_tls(script: Script, context: ssl.SSLContext) -> Script:
    return [start_tls(context), *script]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_https_upstream_with_a_good_certificate_is_used_and_its_connection_kept(
    verifying: Proxy, certificates: Certificates, target: str, host: str
) -> None:
    body = b"".join(pattern(MIB + 17))
    with Origin(over_tls(serve(lambda request: response(request.body)), certificates.server())) as origin:
        with Client(verifying.address) as client:
            for _ in range(3):
                assert client.ask(get(target, https(origin, host))).status == 200
                assert client.ask(post(target, body, https(origin, host))).body == body
            assert len(origin.connections) == 1


@pytest.mark.parametrize("size", [100, 300_000])
def test_https_upstream_that_says_too_much_is_not_heard(
    verifying: Proxy, certificates: Certificates, target: str, size: int
) -> None:
    """Also where the rest of a record, decrypted already, makes no socket readable."""
    much = response(b"x" * size) + response(b"not asked for")
    context = certificates.server()
    first = over_tls([expect_request(), send(much), expect_close()], context)
    with Origin(first, over_tls(serve(OK), context)) as origin, Client(verifying.address) as client:
        assert client.ask(get(target, https(origin))).body == b"x" * size
        assert client.ask(get(target, https(origin))).body == b"ok"


def test_unknown_authority_is_a_502_that_says_so(
    shared_proxy: Proxy, certificates: Certificates, target: str
) -> None:
    with Origin(over_tls(serve(OK), certificates.server())) as origin, Client(shared_proxy.address) as client:
        answer = client.ask(get(target, https(origin)))
        assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=tls_certificate_error")
    assert record_of(shared_proxy, target)["error"] == "tls_certificate_error"


def test_certificate_for_another_name_is_a_502_that_says_so(
    verifying: Proxy, certificates: Certificates, target: str
) -> None:
    with (
        Origin(over_tls(serve(OK), certificates.server("other"))) as origin,
        Client(verifying.address) as client,
    ):
        answer = client.ask(get(target, https(origin)))
        assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=tls_certificate_error")


def test_verification_can_be_switched_off(certificates: Certificates, target: str) -> None:
    with Origin(over_tls(serve(OK), certificates.server("other"))) as origin:
        config = {
            "routing": {"upstream_hosts": f"https://localhost:{origin.port}"},
            "upstream": {"verify": False},
        }
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            assert client.ask(get(target)).status == 200


def test_https_upstream_that_speaks_plain_http_is_a_502(verifying: Proxy, target: str) -> None:
    with Origin([send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), expect_close()]) as origin:
        with Client(verifying.address) as client:
            answer = client.ask(get(target, https(origin)))
            assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=tls_protocol_error")


def test_https_upstream_that_closes_idle_connections_costs_nobody_an_answer(
    verifying: Proxy, certificates: Certificates, target: str
) -> None:
    script = over_tls([expect_request(), send(OK)], certificates.server())
    with Origin(script) as origin, Client(verifying.address) as client:
        for number in range(10):
            assert client.ask(post(target, b"x", https(origin))).status == 200
            origin.wait_for_end(number)


def test_close_delimited_response_without_close_notify_is_truncated(
    verifying: Proxy, certificates: Certificates, target: str
) -> None:
    """RFC 9112 9.8: such a response is complete only when a valid closure alert has come."""
    script = over_tls([expect_request(), send(b"HTTP/1.0 200 OK\r\n\r\nhalf of it")], certificates.server())
    with Origin(script) as origin, Client(verifying.address) as client:
        client.send(get(target, https(origin)))
        assert not client.read_response().is_complete


def test_close_delimited_response_with_close_notify_is_whole(
    verifying: Proxy, certificates: Certificates, target: str
) -> None:
    def say_goodbye(connection) -> None:
        connection.socket = connection.socket.unwrap()

    script = [expect_request(), send(b"HTTP/1.0 200 OK\r\n\r\nall of it"), say_goodbye]
    with Origin(over_tls(script, certificates.server())) as origin, Client(verifying.address) as client:
        answer = client.ask(get(target, https(origin)))
        assert (answer.body, answer.is_complete) == (b"all of it", True)


def test_slow_chunks_from_an_https_upstream_arrive_one_by_one(
    verifying: Proxy, certificates: Certificates, target: str
) -> None:
    """What OpenSSL holds decrypted never makes a socket readable; nothing may get stuck there."""
    got = threading.Event()
    burst = CHUNKED_HEAD + b"".join(b"1\r\n%d\r\n" % number for number in range(10))
    script = [expect_request(), send(burst), wait(got), send(b"4\r\nlast\r\n0\r\n\r\n"), hang()]
    with Origin(over_tls(script, certificates.server())) as origin, Client(verifying.address) as client:
        client.send(get(target, https(origin)))
        head = client.read_response_head()
        body = client.stream_body_of(head)
        received = b""
        while len(received) < 10:
            received += next(body)
        got.set()
        assert received + b"".join(body) == b"0123456789last"
        assert client.ask(get(target, "X-Origin: http://127.0.0.1:1")).status == 502
        origin.release()


def test_early_answer_of_an_https_upstream_reaches_the_client_that_still_sends(
    verifying: Proxy, certificates: Certificates, target: str
) -> None:
    answered = threading.Event()
    script = [
        _read_a_head,
        send(response(b"no", status="413 Content Too Large")),
        tell(answered),
        expect_close(),
    ]
    with Origin(over_tls(script, certificates.server())) as origin, Client(verifying.address) as client:
        client.send(get(target, https(origin), f"Content-Length: {MIB}", method="POST") + bytes(100))
        assert client.read_response().status == 413
        origin.wait_for_end()


def _read_a_head(connection) -> None:
    connection.expect_head()
