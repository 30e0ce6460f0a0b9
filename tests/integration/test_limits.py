"""Limits: what is refused when there is too much of it, and what waits."""

from __future__ import annotations

import resource

import pytest

from tests.integration.kit import InThread, get, pattern, post
from tests.support.origin import OK, Origin, expect_close, expect_head, expect_request, hang, send, serve
from tests.support.proxy import running_proxy
from tests.support.wire import Client

MIB = 1 << 20


def test_body_over_max_body_size_is_refused_and_the_answer_can_be_read() -> None:
    with Origin(serve(OK)) as origin:
        config = {"routing": {"upstream_hosts": origin.url}, "limits": {"max_body_size": "1k"}}
        with running_proxy(config) as proxy:
            with Client(proxy.address) as client:
                assert client.ask(post("/", bytes(1024))).status == 200
                client.send(get("/", f"Content-Length: {5 * MIB}", method="POST"))
                assert not client.is_silent(5)  # the answer is here
                client.send_pieces(pattern(5 * MIB))  # and now everything, before it is read
                answer = client.read_response()
                assert (answer.status, answer.get("connection")) == (413, b"close")
                client.half_close()
                assert client.read_until_closed() == (b"", "eof")
            assert len(origin.requests) == 1


def test_chunked_body_that_grows_over_max_body_size_is_cut_off() -> None:
    with Origin([expect_head(), expect_close()]) as origin:
        config = {"routing": {"upstream_hosts": origin.url}, "limits": {"max_body_size": "1k"}}
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"1000\r\n" + bytes(4096))
            assert client.read_response().status == 413
            assert not origin.wait_for_end().received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("binds", [1, 2], ids=["one listener", "two listeners"])
def test_client_over_worker_connections_waits_until_another_leaves(binds: int) -> None:
    """With two listeners the one that stopped accepting must hear of a place that got free at the other."""
    with Origin(serve(OK)) as origin:
        config = {"routing": {"upstream_hosts": origin.url}, "core": {"worker_connections": 2}}
        with running_proxy(config, binds=["127.0.0.1:0"] * binds) as proxy:
            addresses = proxy.addresses()
            with Client(addresses[0]) as one, Client(addresses[0]) as two:
                assert [one.ask(get()).status, two.ask(get()).status] == [200, 200]
                with Client(addresses[-1]) as waiting:
                    waiting.send(get())
                    assert waiting.is_silent(0.3)
                    assert one.ask(get()).status == 200
                    two.close()
                    assert waiting.read_response().status == 200


def test_burst_of_clients_over_worker_connections_is_served_in_turn() -> None:
    with Origin([expect_request(), hang(), send(OK)], timeout=20) as origin:
        config = {"routing": {"upstream_hosts": origin.url}, "core": {"worker_connections": 3}}
        with running_proxy(config) as proxy:
            clients = [Client(proxy.address) for _ in range(10)]
            for client in clients:
                client.send(get("/", "Connection: close"))
            origin.wait_for_requests(3)
            assert all(client.is_silent() for client in clients)
            assert len(origin.requests) == 3
            origin.release()
            assert [client.read_response().status for client in clients] == [200] * 10
            for client in clients:
                client.close()


def test_proxy_without_a_descriptor_left_recovers_when_there_are_some_again() -> None:
    with Origin(serve(OK)) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}}) as proxy:
            [worker] = proxy.worker_pids(1)
            with Client(proxy.address) as client:
                assert client.ask(get()).status == 200
                soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (proxy.fd_count(), hard))
                late = Client(proxy.address)
                late.send(get())
                proxy.wait_for_log("Too many open files")
                assert client.ask(get()).status == 200  # who is in goes on
                # No descriptor for a fresh upstream connection: the pooled one is in use.
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
                assert late.read_response().status == 200
                late.close()


def test_upstream_connection_without_a_descriptor_left_is_a_502() -> None:
    with Origin([expect_request(), hang(), send(OK)], serve(OK)) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}}) as proxy:
            [worker] = proxy.worker_pids(1)
            with Client(proxy.address) as client, Client(proxy.address) as other:
                client.send(get())
                origin.wait_for_requests(1)
                other.send(b"GET / HT")  # accepted, and has no upstream connection yet
                proxy.wait_until(lambda: proxy.fd_count() > 0, "a worker")
                assert InThread(other.is_silent, 0.2).result()
                soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (proxy.fd_count(), hard))
                other.send(b"TP/1.1\r\nHost: a.test\r\n\r\n")
                assert other.read_response().status == 502
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
                origin.release()
                assert client.read_response().status == 200
                assert other.ask(get()).status == 200
