"""Cookies that name servers."""

from __future__ import annotations

import pytest

from pyrox.http.forwarding import ClientSide
from pyrox.http.message import Request, Response
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import RoundRobin
from pyrox.upstreams.sticky import Sticky, StickyCookie
from tests.unit.upstreams.kit import NOW, furthest, members

SECRET = "0123456789abcdef0123456789abcdef"
COOKIE = StickyCookie("carts", "pyrox_carts", SECRET)


def cluster_of(group: list[Member], cookie: StickyCookie = COOKIE) -> Cluster:
    return Cluster("carts", group, lambda: Sticky(cookie, RoundRobin()))


def asking(*cookies: str, tls: bool = False) -> Request:
    fields = [("Cookie", cookie) for cookie in cookies]
    return Request("GET", "/", fields, client=ClientSide("10.0.0.1", tls=tls))


def answer(cluster: Cluster, member: Member, request: Request) -> str | None:
    """The cookie that a client gets, as the field says it."""
    response = Response(200)
    cluster.answered(member, request, response, 0.1, NOW)
    return response.headers.get("set-cookie")


def cookie_for(member: Member, cookie: StickyCookie = COOKIE) -> str:
    return f"{cookie.name}={cookie.value_for(member.server.url)}"


def test_a_client_stays_where_its_cookie_says() -> None:
    group = members(1, 1, 1)
    cluster = cluster_of(group)
    for member in group:
        for _ in range(5):
            request = asking(cookie_for(member))
            assert cluster.choose(request, NOW) is member
            assert answer(cluster, member, request) is None


def test_a_new_client_gets_a_server_in_turn_and_its_cookie() -> None:
    cluster = cluster_of(group := members(1, 1, 1))
    for expected in group + group:
        request = asking()
        member = cluster.choose(request, NOW)
        assert member is expected
        assert answer(cluster, member, request) == f"{cookie_for(member)}; Path=/; HttpOnly; SameSite=Lax"


def test_new_clients_are_shared_out_by_weight() -> None:
    cluster = cluster_of(group := members(5, 3, 1, 1))
    assert furthest((cluster.choose(asking(), NOW) for _ in range(100_000)), group) < 0.02


GROUP = members(1, 1, 1)
GOOD = cookie_for(GROUP[2])
NAME, _, SIGNATURE = GOOD.partition("=")[2].partition(".")


@pytest.mark.parametrize(
    "cookie",
    [
        f"pyrox_carts={NAME}",
        f"pyrox_carts={NAME}.",
        f"pyrox_carts={NAME}.{SIGNATURE[:-1]}",
        f"pyrox_carts={NAME}.{SIGNATURE}A",
        f"pyrox_carts={NAME}.{'A' * len(SIGNATURE)}",
        f"pyrox_carts={NAME}.{COOKIE.value_for(GROUP[1].server.url).partition('.')[2]}",
        f"pyrox_carts={'A' * len(NAME)}.{SIGNATURE}",
        "pyrox_carts=http://s2",
        "pyrox_carts=s2",
        "pyrox_carts=",
        "pyrox_carts=é.ü",
        cookie_for(GROUP[2], StickyCookie("carts", "pyrox_carts", SECRET[::-1])),
        cookie_for(GROUP[2], StickyCookie("other", "pyrox_carts", SECRET)),
        COOKIE.name + "=" + COOKIE.value_for("http://gone"),
    ],
)
def test_a_forged_or_strange_cookie_counts_for_none_and_is_renewed(cookie: str) -> None:
    cluster = cluster_of(GROUP)
    for expected in GROUP:
        request = asking(cookie)
        assert cluster.choose(request, NOW) is expected
        assert (answer(cluster, expected, request) or "").startswith(cookie_for(expected))
        assert "cookie" not in request.headers


def test_the_name_tells_nothing_of_the_address() -> None:
    value = COOKIE.value_for("http://10.20.30.40:8000")
    assert len(value) == 12 + 1 + 24
    other = StickyCookie("carts", "pyrox_carts", SECRET[::-1]).value_for("http://10.20.30.40:8000")
    assert value.partition(".")[0] != other.partition(".")[0]
    assert value == StickyCookie("carts", "x", SECRET).value_for("http://10.20.30.40:8000")


def test_the_cookie_goes_no_further_and_others_do() -> None:
    cluster = cluster_of(GROUP)
    request = asking(f"a=1; {GOOD}; b=2", f"{GOOD}", "c=pyrox_carts; xpyrox_carts=1")
    assert cluster.choose(request, NOW) is GROUP[2]
    assert request.headers.get_all("cookie") == ["a=1; b=2", "c=pyrox_carts; xpyrox_carts=1"]


def test_when_the_server_does_not_take_it_another_does_and_the_cookie_is_renewed() -> None:
    cluster = cluster_of(GROUP)
    request = asking(GOOD)
    assert cluster.choose(request, NOW) is GROUP[2]
    other = cluster.choose(request, NOW, (GROUP[2],))
    assert other is not GROUP[2]
    assert (answer(cluster, other, request) or "").startswith(cookie_for(other))


def test_a_middleware_that_tries_again_finds_the_same_server() -> None:
    cluster = cluster_of(GROUP)
    request = asking(GOOD)
    assert {cluster.choose(request, NOW) for _ in range(4)} == {GROUP[2]}


def test_clients_leave_a_backup_when_a_primary_is_there_again() -> None:
    *primaries, backup = group = members(1, 1, backups=1)
    cluster = cluster_of(group)
    request = asking()
    assert cluster.choose(request, NOW, primaries) is backup
    assert (answer(cluster, backup, request) or "").startswith(cookie_for(backup))
    request = asking(cookie_for(backup))
    member = cluster.choose(request, NOW)
    assert member in primaries
    assert (answer(cluster, member, request) or "").startswith(cookie_for(member))
    # ... and stay at it as long as there is none.
    request = asking(cookie_for(backup))
    cluster.choose(request, NOW)
    assert cluster.choose(request, NOW, primaries) is backup
    assert answer(cluster, backup, request) is None


def test_secure_when_the_client_came_by_tls() -> None:
    cluster = cluster_of(GROUP)
    request = asking(tls=True)
    member = cluster.choose(request, NOW)
    assert answer(cluster, member, request) == f"{cookie_for(member)}; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_the_attributes_are_those_configured() -> None:
    cookie = StickyCookie("c", "id", SECRET, 3600, "/app", "a.test", "None")
    assert cookie.field_for("v", secure=False) == (
        "id=v; Path=/app; Domain=a.test; Max-Age=3600; Secure; HttpOnly; SameSite=None"
    )


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(COOKIE)
