"""Who may come in."""

from __future__ import annotations

import pytest

from pyrox.http.message import Response
from pyrox.middleware import access_control
from pyrox.middleware.access_control import AccessControl
from pyrox.testing import TestClient


def status_for(address: str, *, allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> int:
    client = TestClient((AccessControl, {"allow": allow, "deny": deny}), client_address=address)
    answer = client.get("/")
    assert len(client.upstream_requests) == (answer.status == 200)
    return answer.status


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("192.168.0.7", 200),
        ("192.168.0.8", 403),
        ("fd00::1", 200),
        ("fe80::1", 403),
        ("11.0.0.1", 403),
        ("unix", 403),
    ],
)
def test_allow_lets_nobody_else_in(address: str, status: int) -> None:
    assert status_for(address, allow=("10.0.0.0/8", "192.168.0.7", "fd00::/8")) == status


@pytest.mark.parametrize(
    ("address", "status"), [("10.1.2.3", 403), ("::ffff:10.1.2.3", 403), ("11.0.0.1", 200), ("unix", 200)]
)
def test_deny_keeps_only_these_out(address: str, status: int) -> None:
    assert status_for(address, deny=("10.0.0.0/8",)) == status


def test_deny_wins() -> None:
    assert status_for("10.0.0.1", allow=("10.0.0.0/8",), deny=("10.0.0.1",)) == 403
    assert status_for("10.0.0.2", allow=("10.0.0.0/8",), deny=("10.0.0.1",)) == 200


def test_networks_of_mapped_addresses_mean_the_ipv4_networks() -> None:
    assert status_for("10.0.0.1", deny=("::ffff:10.0.0.0/104",)) == 403
    assert status_for("11.0.0.1", deny=("::ffff:10.0.0.0/104",)) == 200


def test_unix_peers_have_a_name() -> None:
    assert status_for("unix", allow=("unix",)) == 200
    assert status_for("10.0.0.1", allow=("unix",)) == 403
    assert status_for("unix", deny=("unix",)) == 403


def test_client_behind_a_trusted_proxy_is_the_one_that_is_judged() -> None:
    client = TestClient((AccessControl, {"deny": ["203.0.113.0/24"]}), trusted=True)
    assert client.get("/", headers={"X-Forwarded-For": "203.0.113.9"}).status == 403
    assert client.get("/", headers={"X-Forwarded-For": "198.51.100.9"}).status == 200


def test_claim_of_a_stranger_counts_for_nothing() -> None:
    client = TestClient((AccessControl, {"allow": ["203.0.113.9"]}), client_address="198.51.100.1")
    assert client.get("/", headers={"X-Forwarded-For": "203.0.113.9"}).status == 403


def test_answer_is_the_middleware_s_and_tells_nothing() -> None:
    answer = TestClient((AccessControl, {"deny": ["127.0.0.1"]})).get("/")
    assert answer.made_by == "AccessControl"
    assert answer.text == "403 Forbidden\n"


def test_verdicts_are_remembered_but_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_control, "_MAX_VERDICTS", 8)
    middleware = AccessControl(lambda request: Response(200), deny=["10.0.0.3"])
    client = TestClient(middleware)
    statuses = [client.get("/", client_address=f"10.0.0.{n}").status for n in (*range(20), *range(20))]
    assert statuses == ([200] * 3 + [403] + [200] * 16) * 2
    assert 0 < len(middleware._verdicts) <= 8


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "neither it nor deny has an entry"),
        ({"allow": ["10.0.0.1/8"]}, "allow: 10.0.0.1/8 has host bits set; write 10.0.0.0/8"),
        ({"deny": ["fd00::1/8"]}, "deny: fd00::1/8 has host bits set; write fd00::/8"),
        ({"allow": ["10.0.0.1"], "deny": ["all"]}, "deny: 'all' .*; allow alone keeps all others out"),
        ({"allow": ["all"], "deny": ["10.0.0.1"]}, "allow: 'all' .*; deny alone lets all others in"),
        ({"deny": ["localhost"]}, "deny: 'localhost' does not appear to be"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, list[str]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TestClient((AccessControl, options))


def status_of(method: str, target: str, *headers: tuple[str, str], **options: object) -> int:
    client = TestClient((AccessControl, {"allow": ["10.0.0.0/8"], **options}), client_address="192.0.2.1")
    answer = client.request(method, target, headers=headers)
    assert len(client.upstream_requests) == (answer.status == 200)
    return answer.status


def test_only_these_paths_are_controlled() -> None:
    options = {"paths": ["/admin/**", "~ /v[0-9]+/metrics"]}
    assert [status_of("GET", path, **options) for path in ("/", "/public", "/adminx")] == [200, 200, 200]
    for path in ("/admin", "/admin/", "/admin/a?b", "/v1/metrics"):
        assert status_of("GET", path, **options) == 403
    client = TestClient((AccessControl, {"allow": ["10.0.0.0/8"], **options}), client_address="10.0.0.1")
    assert client.get("/admin").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "//admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2Fadmin",
        "/admin;x",
        "/%61dmin",
        "/admin%2Fx",
        "/a/../x/%2e/;y/%2F/\\%00",
    ],
)
def test_no_spelling_of_a_path_gets_past(path: str) -> None:
    assert status_of("GET", path, paths=["/admin/**"]) == 403


def test_only_these_methods_are_controlled_however_they_are_asked_for() -> None:
    assert status_of("GET", "/", methods=["POST", "PUT"]) == 200
    assert status_of("PUT", "/", methods=["POST", "PUT"]) == 403
    assert status_of("GET", "/", ("X-HTTP-Method-Override", "put"), methods=["POST", "PUT"]) == 403
    assert status_of("PUT", "/public", methods=["PUT"], paths=["/admin"]) == 200
    assert status_of("GET", "/admin", methods=["PUT"], paths=["/admin"]) == 200
    assert status_of("PUT", "/admin", methods=["PUT"], paths=["/admin"]) == 403


def test_case_of_paths_is_ignored_where_it_is_wanted() -> None:
    assert status_of("GET", "/ADMIN", paths=["/admin"]) == 200
    assert status_of("GET", "/ADMIN", paths=["/admin"], ignore_case=True) == 403


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"paths": ["admin"]}, "paths: 'admin' is no path pattern"),
        ({"methods": ["put"]}, "methods: 'put' is no method"),
    ],
)
def test_bad_paths_and_methods_are_named(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        status_of("GET", "/", **options)
