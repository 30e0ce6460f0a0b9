"""Clusters of real servers: who gets what, with one worker and with four."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from math import sqrt
from pathlib import Path

import pytest

from tests.integration.kit import get, post, response, response_head, tell
from tests.support.config import Config
from tests.support.messages import WireRequest, WireResponse
from tests.support.origin import (
    OK,
    Origin,
    OriginConnection,
    Script,
    close,
    expect_close,
    expect_head,
    expect_request,
    hang,
    reset,
    send,
    serve,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

PLUGINS = Path(__file__).parent / "plugins"
SECRET = "0123456789abcdef0123456789abcdef"
WEIGHTS = {"a": 2, "b": 1, "c": 1}
CLIENTS = 16  # half of them at one worker's heavy server, and one of each four at each of four workers'
REQUESTS = 4000

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
UPGRADE = ("Connection: Upgrade", "Upgrade: talk")

POLICIES: dict[str, dict[str, str]] = {
    "round_robin": {},
    "least_conn": {},
    "random_two": {},
    "ewma": {},
    "hash": {"hash_on": "query:user"},
    "sticky": {"cookie_secret": SECRET},
}

# --- kit


def named(name: str, seconds: float = 0.0) -> Script:
    """A server that takes its time, and says who it is."""

    def answer(request: WireRequest) -> bytes:
        time.sleep(seconds)
        return response(b"ok", f"X-Server: {name}")

    return serve(answer)


def config_of(clusters: dict[str, dict[str, str]], **sections: dict[str, str]) -> Config:
    middleware = {
        "stack": "in_flight, by_path, twice",
        "in_flight": {"class": "clusters.InFlight"},
        "by_path": {"class": "clusters.ByPath"},
        "twice": {"class": "clusters.TwoRequests"},
    }
    return {"middleware": middleware, "clusters": clusters, **sections}


@contextmanager
def proxy_before(
    clusters: dict[str, dict[str, str]], workers: int = 1, **sections: dict[str, str]
) -> Iterator[Proxy]:
    with running_proxy(config_of(clusters, **sections), workers=workers, python_path=[PLUGINS]) as proxy:
        yield proxy


@contextmanager
def origins(*scripts: Sequence[Script]) -> Iterator[list[Origin]]:
    with ExitStack() as stack:
        # Connections may be idle for as long as all tests take that share the proxy.
        yield [stack.enter_context(Origin(*script, timeout=100)) for script in scripts]


def server_of(answer: WireResponse) -> str:
    assert answer.status == 200
    return (answer.get("x-server") or b"").decode()


def ask(proxy: Proxy, target: str, *fields: str) -> WireResponse:
    """Ask on a connection of its own, which any worker may get."""
    with Client(proxy.address) as client:
        return client.ask(get(target, *fields))


def spread(proxy: Proxy, requests: int, target_of: Callable[[int], str]) -> Counter[str]:
    """Let ``CLIENTS`` clients ask ``requests`` times; returns who answered how often."""
    counts: Counter[str] = Counter()
    failures: list[BaseException] = []

    def run(first: int) -> None:
        try:
            with Client(proxy.address) as client:
                for number in range(first, requests, CLIENTS):
                    counts[server_of(client.ask(get(target_of(number))))] += 1
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    if failures:
        raise failures[0]
    assert counts.total() == requests
    return counts


def in_flight(proxy: Proxy) -> dict[str, int]:
    found: dict[str, int] = json.loads(ask(proxy, "/in_flight").body)
    return found


def wait_for_nothing_in_flight(proxy: Proxy) -> None:
    proxy.wait_until(lambda: in_flight(proxy) == {}, "end of all that is in flight")


# --- shares


@pytest.fixture(scope="module", params=[1, 4], ids=["one-worker", "four-workers"])
def balanced(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """A proxy with a cluster for each policy, all of the same three servers of different weight."""
    with origins(*[[named(name, 0.01)] for name in WEIGHTS]) as servers:
        urls = {name: origin.url for name, origin in zip(WEIGHTS, servers, strict=True)}
        listed = ", ".join(f"{urls[name]} weight={weight}" for name, weight in WEIGHTS.items())
        clusters = {
            policy: {"servers": listed, "balance": policy, **options} for policy, options in POLICIES.items()
        }
        with proxy_before(clusters, workers=request.param) as proxy:
            proxy.worker_pids(request.param)
            yield proxy


SHARES = {name: weight / sum(WEIGHTS.values()) for name, weight in WEIGHTS.items()}


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "ewma"])
def test_shares_are_the_weights(balanced: Proxy, policy: str) -> None:
    counts = spread(balanced, REQUESTS, lambda number: f"/{policy}/?user={number}")
    for name, share in SHARES.items():
        chance = 3 * sqrt(share * (1 - share) / REQUESTS)
        assert abs(counts[name] / REQUESTS - share) < 0.02 + chance, counts


def test_ewma_starves_no_server_that_is_about_as_quick(balanced: Proxy) -> None:
    # It goes by the latencies that it measures, and follows a single slow answer for seconds: on a machine
    # with other work to do they are never equal. Where they are, in unit tests, its shares are the weights.
    counts = spread(balanced, REQUESTS, lambda number: "/ewma/")
    for name, share in SHARES.items():
        assert counts[name] / REQUESTS > share / 3, counts


@pytest.mark.parametrize("policy", ["round_robin", "least_conn"])
def test_one_client_at_a_time_is_shared_out_by_weight_too(balanced: Proxy, policy: str) -> None:
    with Client(balanced.address) as client:
        counts = Counter(server_of(client.ask(get(f"/{policy}/"))) for _ in range(200))
    assert abs(counts["a"] / 200 - 0.5) < (0.01 if policy == "round_robin" else 0.02 + 3 * 0.035), counts


def test_a_key_has_the_same_server_in_every_worker(balanced: Proxy) -> None:
    users = range(20)
    first = {user: server_of(ask(balanced, f"/hash/?user={user}")) for user in users}
    assert len(set(first.values())) == 3
    for _ in range(4):
        assert {user: server_of(ask(balanced, f"/hash/x?a=b&user={user}")) for user in users} == first


def test_a_cookie_means_the_same_server_in_every_worker(balanced: Proxy) -> None:
    for _ in range(6):
        answer = ask(balanced, "/sticky/")
        cookie = (answer.get("set-cookie") or b"").decode().partition(";")[0]
        assert cookie.startswith("pyrox_sticky=")
        for _ in range(6):
            again = ask(balanced, "/sticky/", f"Cookie: {cookie}")
            assert (server_of(again), again.get("set-cookie")) == (server_of(answer), None)


# --- one policy each


def switching(name: str) -> Script:
    """A server that opens a tunnel when it is asked to, and else says who it is."""

    def step(connection: OriginConnection) -> None:
        while connection.expect_request().get("upgrade") is None:
            connection.send(response(b"ok", f"X-Server: {name}"))
        connection.send(SWITCH.replace(b"\r\n\r\n", f"\r\nX-Server: {name}\r\n\r\n".encode()))
        connection.read_until_closed()

    return [step]


def test_a_server_with_a_tunnel_gets_no_more_while_another_is_idle() -> None:
    with origins([switching("a")], [switching("b")]) as servers:
        listed = ", ".join(origin.url for origin in servers)
        with proxy_before({"users": {"servers": listed, "balance": "least_conn"}}) as proxy:
            with Client(proxy.address) as tunnel, Client(proxy.address) as client:
                tunnel.send(get("/users/", *UPGRADE))
                head = tunnel.read_response_head()
                assert head.status == 101
                busy = (head.get("x-server") or b"").decode()
                assert in_flight(proxy) == {servers["ab".index(busy)].url: 1}
                idle = "ab".replace(busy, "")
                assert [server_of(client.ask(get("/users/"))) for _ in range(30)] == [idle] * 30
            wait_for_nothing_in_flight(proxy)
            assert {server_of(ask(proxy, "/users/")) for _ in range(30)} == {"a", "b"}


def test_a_slow_server_gets_little_of_ewma() -> None:
    with origins([named("slow", 0.1)], [named("quick", 0.01)]) as servers:
        listed = ", ".join(origin.url for origin in servers)
        with proxy_before({"users": {"servers": listed, "balance": "ewma"}}) as proxy:
            counts = spread(proxy, 800, lambda number: "/users/")
    assert counts["slow"] < 0.15 * counts.total()


def test_keys_of_a_lost_server_are_spread_and_no_others_move() -> None:
    with origins([named("a")], [named("b")], [named("c")]) as servers:
        listed = ", ".join(origin.url for origin in servers)
        options = {"servers": listed, "balance": "hash", "hash_on": "header:X-User"}
        with proxy_before({"users": options}) as proxy, Client(proxy.address) as client:

            def owners() -> list[str]:
                requests = [get("/users/", f"X-User: {number}") for number in range(200)]
                return [server_of(client.ask(request)) for request in requests]

            before = owners()
            servers[1].close()
            after = owners()
            moved = [new for old, new in zip(before, after, strict=True) if old != new]
            assert [old for old, new in zip(before, after, strict=True) if old != new] == ["b"] * len(moved)
            assert 0 < len(moved) / 200 < 1 / 3 + 0.02 + 3 * 0.033
            assert set(moved) == {"a", "c"}


@pytest.fixture
def sticky() -> Iterator[tuple[Proxy, list[Origin]]]:
    with origins([named("a")], [named("b")]) as servers:
        options = {
            "servers": ", ".join(origin.url for origin in servers),
            "balance": "sticky",
            "cookie_secret": "${STICKY_SECRET}",
            "cookie_name": "stay",
            "cookie_max_age": "1h",
        }
        config = config_of({"users": options}, http={"trusted_proxies": "127.0.0.1"})
        with running_proxy(config, python_path=[PLUGINS], env={"STICKY_SECRET": SECRET}) as proxy:
            yield proxy, servers


def test_the_cookie_never_reaches_a_server(sticky: tuple[Proxy, list[Origin]]) -> None:
    proxy, servers = sticky
    answer = ask(proxy, "/users/")
    given = (answer.get("set-cookie") or b"").decode()
    cookie, _, attributes = given.partition("; ")
    assert attributes == "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"
    again = ask(proxy, "/users/", f"Cookie: a=1; {cookie}; b=2")
    assert (server_of(again), again.get("set-cookie")) == (server_of(answer), None)
    seen = {
        name: value for origin in servers for request in origin.requests for name, value in request.fields
    }
    assert seen[b"Cookie"] == b"a=1; b=2"
    assert not any(origin.address in given for origin in servers)


def test_a_cookie_given_over_tls_is_secure(sticky: tuple[Proxy, list[Origin]]) -> None:
    answer = ask(sticky[0], "/users/", "X-Forwarded-Proto: https")
    assert b"; Secure; HttpOnly" in (answer.get("set-cookie") or b"")


def test_a_forged_cookie_is_renewed(sticky: tuple[Proxy, list[Origin]]) -> None:
    proxy, servers = sticky
    given = ask(proxy, "/users/").get("set-cookie") or b""
    for forged in (
        given.partition(b".")[0] + b".AAAAAAAAAAAAAAAAAAAAAAAA",
        f"stay={servers[0].url}".encode(),
    ):
        answer = ask(proxy, "/users/", f"Cookie: {forged.decode()}")
        assert server_of(answer)
        assert (answer.get("set-cookie") or b"").startswith(b"stay=")
    assert not any(request.get("cookie") for origin in servers for request in origin.requests)


def test_whose_server_is_gone_gets_another_and_its_cookie(sticky: tuple[Proxy, list[Origin]]) -> None:
    proxy, servers = sticky
    answer = ask(proxy, "/users/")
    cookie = (answer.get("set-cookie") or b"").decode().partition(";")[0]
    gone = server_of(answer)
    servers["ab".index(gone)].close()
    other = ask(proxy, "/users/", f"Cookie: {cookie}")
    assert server_of(other) != gone
    renewed = (other.get("set-cookie") or b"").decode().partition(";")[0]
    assert renewed.startswith("stay=") and renewed != cookie
    assert ask(proxy, "/users/", f"Cookie: {renewed}").get("set-cookie") is None


def test_backups_wait_until_no_other_is_left() -> None:
    with origins([named("a")], [named("backup")]) as (primary, backup):
        servers = f"{primary.url} weight=1, {backup.url} weight=50 backup"
        with proxy_before({"users": {"servers": servers}}) as proxy, Client(proxy.address) as client:
            assert {server_of(client.ask(get("/users/"))) for _ in range(20)} == {"a"}
            primary.close()
            assert {server_of(client.ask(get("/users/"))) for _ in range(20)} == {"backup"}
            wait_for_nothing_in_flight(proxy)


def test_a_recovered_server_starts_slowly() -> None:
    """It is down for a moment, and then for a minute far below its weight."""
    with origins([named("a")], [named("b")]) as (one, two):
        servers = f"{one.url}, {two.url}"
        with proxy_before({"users": {"servers": servers, "slow_start": "60"}}) as proxy:
            with Client(proxy.address) as client:
                address = ("127.0.0.1", one.port)

                def counts() -> Counter[str]:
                    return Counter(server_of(client.ask(get("/users/"))) for _ in range(100))

                assert counts()["a"] == 50
                one.close()
                assert counts()["a"] == 0
                with listening_at(address, named("a")):
                    proxy.wait_until(lambda: counts()["a"] > 0, "return of the server")
                    assert 1 <= counts()["a"] < 25


@contextmanager
def listening_at(address: tuple[str, int], script: Script) -> Iterator[None]:
    """A server at a port where one was before."""
    again = Origin(script)
    again._listener.close()
    again._listener = socket.create_server(address, backlog=512)
    with again:
        yield


def test_the_default_cluster_takes_what_is_not_routed() -> None:
    with origins([named("default")], [named("host")]) as (default, host):
        routing = {"upstream_hosts": host.url, "default_cluster": "main"}
        with proxy_before({"main": {"servers": default.url}}, routing=routing) as proxy:
            assert server_of(ask(proxy, "/")) == "default"
            assert server_of(ask(proxy, "/main/")) == "default"
            assert server_of(ask(proxy, "/upstream_hosts/")) == "host"
            assert ask(proxy, "/nobody/").status == 404
            assert "upstream main" in proxy.error_log()


# --- what is in flight ends, however it ends


@pytest.fixture(scope="module")
def counted() -> Iterator[tuple[Proxy, Callable[[Script], Origin]]]:
    """A proxy whose cluster's one server plays another script in each test."""
    with Origin(timeout=100) as origin:
        options = {"servers": origin.url, "balance": "least_conn"}
        timeouts = {"upstream_first_byte": "1", "client_half_closed": "0"}
        with proxy_before({"users": options}, timeouts=timeouts) as proxy:

            def play(script: Script) -> Origin:
                origin.scripts = (script,)
                return origin

            yield proxy, play


Counted = tuple[Proxy, Callable[[Script], Origin]]


def test_an_exchange_is_in_flight_until_its_last_byte(counted: Counted) -> None:
    proxy, play = counted
    origin = play([expect_request(), send(response_head("Content-Length: 4"), b"ha"), hang(), send(b"lf")])
    with Client(proxy.address) as client:
        client.send(get("/users/"))
        head = client.read_response_head()
        assert in_flight(proxy) == {origin.url: 1}
        origin.release()
        client.read_body_of(head)
    wait_for_nothing_in_flight(proxy)
    origin._released.clear()


@pytest.mark.parametrize("ends", ["client", "server", "client resets"])
def test_a_tunnel_is_in_flight_until_it_ends(counted: Counted, ends: str) -> None:
    proxy, play = counted
    origin = play([expect_request(), send(SWITCH), expect_close() if ends != "server" else reset()])
    with Client(proxy.address) as client:
        client.send(get("/users/", *UPGRADE))
        assert client.read_response_head().status == 101
        if ends != "server":
            assert in_flight(proxy) == {origin.url: 1}
        client.reset() if ends == "client resets" else client.close()
    wait_for_nothing_in_flight(proxy)


@pytest.mark.parametrize(
    "script",
    [
        [expect_request(), reset()],
        [expect_request(), send(b"garbage\r\n\r\n")],
        [expect_request(), send(response_head("Content-Length: 10")), send(b"half"), reset()],
        [expect_request(), hang()],
        [expect_request(), send(OK), expect_request(), reset()],
        [expect_head(), send(response(b"no", status="413 Too Large")), close()],
        [close()],
    ],
    ids=["reset", "garbage", "truncated", "late", "stale", "early", "closed"],
)
def test_a_try_that_fails_is_over(counted: Counted, script: Script) -> None:
    proxy, play = counted
    play(script)
    for request in (get("/users/"), get("/users/"), post("/users/", b"x" * 300_000)):
        with Client(proxy.address) as client, suppress(OSError):
            client.ask(request)
    wait_for_nothing_in_flight(proxy)


def test_a_client_that_leaves_ends_its_try(counted: Counted) -> None:
    proxy, play = counted
    asked = threading.Event()
    origin = play([expect_request(), tell(asked), expect_close()])
    with Client(proxy.address) as client:
        client.send(get("/users/"))
        assert asked.wait(10)
        assert in_flight(proxy) == {origin.url: 1}
    wait_for_nothing_in_flight(proxy)


def test_a_request_that_a_middleware_makes_is_counted_as_its_own(counted: Counted) -> None:
    proxy, play = counted
    origin = play([expect_request(), send(response_head("Content-Length: 4"), b"ha"), hang()])
    with Client(proxy.address) as client:
        client.send(get("/users/", "X-Twice: yes"))
        proxy.wait_until(lambda: in_flight(proxy) == {origin.url: 2}, "two tries in flight")
    wait_for_nothing_in_flight(proxy)


def test_a_connection_that_is_not_made_is_over_at_once() -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{refusing.getsockname()[1]}"
        with proxy_before({"users": {"servers": f"{url}, http://127.0.0.1:1"}}) as proxy:
            for _ in range(3):
                assert ask(proxy, "/users/").status == 502
            wait_for_nothing_in_flight(proxy)
