"""How many requests may come."""

from __future__ import annotations

from typing import Any

import pytest

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.limiting.demands import Demand, StoreError, Verdict
from pyrox.middleware.limiting.memory_store import SharedMemoryStorage
from pyrox.middleware.rate_limit import RateLimit
from pyrox.testing import TestClient


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every store that is made from here on."""
    clock = Clock()
    assert SharedMemoryStorage.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(SharedMemoryStorage.__init__.__kwdefaults__, "clock", clock)
    return clock


def limited(*policies: str, **options: Any) -> TestClient:
    return TestClient((RateLimit, {"policies": policies, **options}))


def statuses(client: TestClient, times: int, **arguments: Any) -> list[int]:
    return [client.get("/", **arguments).status for _ in range(times)]


def test_requests_over_the_quota_are_refused_and_do_not_go_upstream(clock: Clock) -> None:
    client = limited("3/minute per client")
    assert statuses(client, 5) == [200, 200, 200, 429, 429]
    assert len(client.upstream_requests) == 3
    assert statuses(client, 1, client_address="192.0.2.1") == [200]


def test_quota_is_there_again_after_retry_after_and_not_before(clock: Clock) -> None:
    for strategy in ("fixed_window", "sliding_window", "token_bucket"):
        client = limited("3/minute per client", strategy=strategy)
        statuses(client, 3)
        clock.now += 7.3
        wait = int(client.get("/").headers["retry-after"])
        clock.now += wait - 1.5
        assert client.get("/").status == 429
        clock.now += 1.5
        assert client.get("/").status == 200, strategy


def test_retry_after_is_rounded_up_and_never_0(clock: Clock) -> None:
    client = limited("1/second")
    client.get("/")
    clock.now += 0.9999
    assert client.get("/").headers["retry-after"] == "1"


@pytest.mark.parametrize("strategy", ["fixed_window", "sliding_window", "token_bucket"])
def test_window_of_a_machine_that_has_just_started_is_a_whole_one(clock: Clock, strategy: str) -> None:
    clock.now = 100.0
    client = limited("1/hour", strategy=strategy)
    assert client.get("/").headers["ratelimit"] == '"all-per-hour";r=0;t=3600'
    clock.now = 3650.0  # an hour after the start of the machine, but not of the window
    assert client.get("/").status == 429


def test_fields_are_those_of_the_draft(clock: Clock) -> None:
    client = limited("burst: 10/second per client", "100/minute per client", strategy="fixed_window")
    client.get("/")
    clock.now += 0.5
    headers = client.get("/").headers
    assert headers["ratelimit-policy"] == '"burst";q=10;w=1, "client-per-minute";q=100;w=60'
    assert headers["ratelimit"] == '"burst";r=8;t=1, "client-per-minute";r=98;t=60'
    assert "x-ratelimit-limit" not in headers


def test_refusal_tells_of_the_policies_that_refuse(clock: Clock) -> None:
    client = limited("burst: 1/second", "100/minute", strategy="fixed_window")
    client.get("/")
    answer = client.get("/")
    assert (answer.status, answer.made_by) == (429, "RateLimit")
    assert answer.headers["ratelimit"] == '"burst";r=0;t=1'
    assert answer.headers["retry-after"] == "1"
    assert answer.text == "too many requests; Retry-After says when to come again\n"


def test_refusal_is_a_problem_to_who_prefers_one(clock: Clock) -> None:
    client = limited("1/second")
    client.get("/")
    answer = client.get("/", headers={"Accept": "application/problem+json"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["violated-policies"] == ["all-per-second"]
    assert answer.json()["type"].endswith("#quota-exceeded")


def test_older_fields_tell_of_the_policy_closest_to_its_end(clock: Clock) -> None:
    client = limited("2/second", "100/minute", x_fields=True, fields=False)
    headers = client.get("/").headers
    assert "ratelimit" not in headers
    assert "ratelimit-policy" not in headers
    shown = [headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")]
    assert shown == ["2", "1", "1"]


def test_upstream_and_errors_keep_their_own_fields(clock: Clock) -> None:
    client = TestClient((RateLimit, {"policies": ["9/minute"]}), Response(200, b"", {"RateLimit": '"u";r=1'}))
    assert client.get("/").headers.get_all("ratelimit") == ['"u";r=1', '"all-per-minute";r=8;t=60']

    def refuse(request: Request) -> Response:
        raise HTTPError(403)

    client = TestClient((RateLimit, {"policies": ["9/minute"]}), refuse)
    assert client.get("/").headers["ratelimit"] == '"all-per-minute";r=8;t=60'


def test_refusal_by_one_policy_consumes_no_other(clock: Clock) -> None:
    client = limited("2/second", "4/minute", strategy="fixed_window")
    assert statuses(client, 10) == [200, 200, *[429] * 8]
    clock.now += 1
    assert statuses(client, 10) == [200, 200, *[429] * 8]
    clock.now += 1
    assert statuses(client, 2) == [429, 429]  # now it is the other one's turn


def test_cost_is_that_of_the_dearest_method_that_servers_may_see(clock: Clock) -> None:
    client = limited("10/minute", cost={"GET": 0, "DELETE": 5})
    for headers, remaining in [({}, None), ({"X-HTTP-Method-Override": "delete"}, "r=5"), ({}, None)]:
        found = client.get("/", headers=headers).headers.get("ratelimit", "")
        assert (remaining in found) if remaining else not found
    assert client.post("/", headers={"X-Method-Override": "DELETE"}).status == 200
    assert client.post("/").status == 429


def test_cost_by_method(clock: Clock) -> None:
    client = limited("10/minute", cost={"POST": 4, "OPTIONS": 0, "other": 2})
    assert [client.post("/").status for _ in range(3)] == [200, 200, 429]
    assert [client.get("/").status for _ in range(2)] == [200, 429]
    answer = client.options("/")
    assert answer.status == 200
    assert "ratelimit" not in answer.headers


def test_bucket_lets_a_burst_through_and_then_what_flows_in(clock: Clock) -> None:
    client = limited("60/minute burst 5 using token_bucket")
    assert statuses(client, 6) == [200] * 5 + [429]
    clock.now += 2
    assert statuses(client, 3) == [200, 200, 429]
    clock.now += 3600
    assert statuses(client, 6) == [200] * 5 + [429]


@pytest.mark.parametrize("quota", [3, 7, 97, 999])
def test_bucket_loses_no_token_to_rounding(clock: Clock, quota: int) -> None:
    client = limited(f"{quota}/minute using token_bucket")
    for _ in range(5):
        assert statuses(client, quota + 1) == [200] * quota + [429]
        clock.now += 60


def test_dry_run_lets_everything_pass_and_tells_only_the_log(clock: Clock) -> None:
    client = limited("1/minute", dry_run=True, x_fields=True)
    answers = [client.get("/") for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert not [name for name in answers[-1].headers if "ratelimit" in name.lower()]
    assert [request.state.get("observed") for request in client.upstream_requests] == [
        None,
        ["rate_limit=429"],
        ["rate_limit=429"],
    ]


def test_sections_count_for_themselves_and_a_section_in_two_routes_once(clock: Clock) -> None:
    text = """
    [routes]
    [[a]]
    match = PathPrefix(`/a`)
    stack = one,
    cluster = http://10.0.0.1:80
    [[b]]
    match = PathPrefix(`/b`)
    stack = one, by_route
    cluster = http://10.0.0.1:80
    [[c]]
    match = PathPrefix(`/c`)
    stack = two, by_route
    cluster = http://10.0.0.1:80
    [middleware]
    [[one]]
    class = pyrox.middleware.rate_limit.RateLimit
    policies = 3/minute per client
    [[two]]
    class = pyrox.middleware.rate_limit.RateLimit
    policies = 3/minute per client
    [[by_route]]
    class = pyrox.middleware.rate_limit.RateLimit
    policies = 2/minute per client+route
    """
    client = TestClient.from_config(text)
    paths = ["/a", "/a", "/b", "/a", "/c", "/c", "/c"]
    assert [client.get(path).status for path in paths] == [200, 200, 200, 429, 200, 200, 429]
    assert TestClient.from_config(text).get("/a").status == 200  # another client, another memory


def test_route_is_no_key_in_the_stack_of_all_requests() -> None:
    from pyrox.errors import ConfigError

    text = "[middleware]\nstack = rate_limit,\n[[rate_limit]]\npolicies = 3/minute per route\n"
    with pytest.raises(ConfigError, match="known only in a route's stack"):
        TestClient.from_config(text)


class Lost:
    """A store that has gone."""

    def key(self, text: str) -> bytes:
        return text.encode()

    def take(self, demands: list[Demand]) -> list[Verdict]:
        raise StoreError("gone")


@pytest.mark.parametrize(("choice", "status"), [("allow", 200), ("deny", 503)])
def test_without_its_store_it_does_as_configured(
    monkeypatch: pytest.MonkeyPatch, choice: str, status: int
) -> None:
    monkeypatch.setattr("pyrox.middleware.limiting.building.make_store", lambda *_: Lost())
    client = limited("1/minute", on_store_error=choice)
    answers = [client.get("/") for _ in range(3)]
    assert [answer.status for answer in answers] == [status] * 3
    assert ("retry-after" in answers[0].headers) == (status == 503)
    assert "ratelimit" not in answers[0].headers


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"policies": []}, "policies: there is none"),
        ({"policies": ["fast"]}, "policies: 'fast' is not like '100/minute per client'"),
        ({"policies": ["0/minute"]}, "0 would let nothing through"),
        ({"policies": ["1/fortnight"]}, "is not like .*units are second, minute, hour, day, month, year"),
        ({"policies": ["1/minute per clent"]}, "'clent' is no key; did you mean client"),
        ({"policies": ["1/minute per header:a b"]}, "is not like"),
        ({"policies": ["1/minute per header:é"]}, "names no header field"),
        ({"policies": ["1/minute using leaky"]}, "'leaky' is no strategy"),
        ({"policies": ["1/minute burst 5"]}, "only a token_bucket has a burst"),
        ({"policies": ["1/minute", "2/minute"]}, "two are called 'all-per-minute'"),
        ({"policies": ["1/minute"], "cost": 2}, "cost: 2 is not between 0 and 1"),
        ({"policies": ["9/minute"], "cost": {"get": 2}}, "cost: methods are written in capitals: GET"),
        ({"policies": ["1/minute"], "ipv6_prefix": 0}, "ipv6_prefix: 0 is not between 1 and 128"),
        ({"policies": ["1/minute"], "max_keys": 1}, "max_keys: 1 is not between"),
        ({"policies": ["1/minute"], "store": "memcached://x"}, "store: 'memcached' is neither memory"),
        ({"policies": ["1/minute"], "store": "redis://a:b"}, "store: is no address"),
        ({"policies": ["1/minute"], "store": "redis://a", "store_timeout": 0}, "store_timeout: 0 is not"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TestClient((RateLimit, options))


def test_missing_library_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "limits", None)
    with pytest.raises(ValueError, match=r"pip install 'pyrox\[rate_limit\]'"):
        limited("1/minute")


def test_full_memory_is_told_in_the_log(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    client = limited("1/minute per client", max_keys=64)
    for number in range(300):
        client.get("/", client_address=f"10.0.{number >> 8}.{number & 255}")
    told = [record for record in caplog.records if "max_keys" in record.message]
    assert len(told) == 1
