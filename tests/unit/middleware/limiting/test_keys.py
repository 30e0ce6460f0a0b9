"""Whose requests are counted together."""

from __future__ import annotations

import pytest

from pyrox.http.forwarding import ClientSide
from pyrox.http.message import Request
from pyrox.middleware.identity import Identity, identify
from pyrox.middleware.limiting.counts import shared_counts
from pyrox.middleware.limiting.keys import parse_key
from pyrox.middleware.limiting.memory_store import SharedMemoryStorage
from pyrox.middleware.place import Place, placed


def request(address: str = "192.0.2.7", user: str = "", method: str = "GET", **fields: str) -> Request:
    items = [(name.replace("_", "-"), value) for name, value in fields.items()]
    made = Request(method, "/", items, client=ClientSide(address))
    if user:
        identify(made, Identity(user, "test"))
    return made


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("unix", "unix"),
    ],
)
def test_client_is_its_address_or_its_ipv6_network(address: str, key: str) -> None:
    assert parse_key("client")(request(address)) == key


def test_prefix_of_ipv6_networks_is_an_option() -> None:
    assert parse_key("client", 48)(request("2001:db8:1:2::1")) == "2001:db8:1::"
    assert parse_key("client", 128)(request("2001:db8:1:2::1")) == "2001:db8:1:2::1"


def test_addresses_are_remembered_but_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyrox.middleware.limiting.keys._MOST_ADDRESSES", 4)
    key = parse_key("client")
    found = {key(request(f"2001:db8::{n:x}:0:0:0:1")) for n in range(1, 30)}
    assert len(found) == 29


def test_header_counts_whatever_its_case_and_all_its_lines() -> None:
    key = parse_key("header:X-Tenant")
    assert key(request(x_tenant="a")) == key(request(X_TENANT="a")) == "=a"
    two = request(x_tenant="a")
    two.headers.add("X-Tenant", "b")
    assert key(two) == "=a,b"


@pytest.mark.parametrize("text", ["header:X-Tenant", "identity"])
def test_who_leaves_out_what_it_is_known_by_is_known_by_its_address(text: str) -> None:
    key = parse_key(text)
    assert key(request("192.0.2.7")) != key(request("192.0.2.8"))
    assert key(request("192.0.2.7")) not in (
        key(request(user="192.0.2.7", x_tenant="192.0.2.7")),
        key(request(user="~192.0.2.7", x_tenant="~192.0.2.7")),
    )


def test_identity_counts_wherever_it_comes_from() -> None:
    key = parse_key("identity")
    assert key(request("192.0.2.7", "ada")) == key(request("192.0.2.8", "ada"))
    assert key(request(user="ada")) != key(request(user="bob"))


@pytest.mark.parametrize("name", ["Zo\xeb", "\udce9", "\ud800"])
def test_name_of_any_characters_counts(name: str) -> None:
    key = parse_key("identity")(request(user=name))
    assert len(SharedMemoryStorage(name="odd names", most_keys=64).key(key)) == 16
    counts = shared_counts("odd names", 64)
    slot = counts.add(key, 1)
    assert slot is not None
    counts.release(slot)


def test_method_host_and_all() -> None:
    assert parse_key("method")(request(method="POST")) == "POST"
    assert parse_key("host")(request(host="A.Example")) == "a.example"
    for spelling in ("a.example:80", "a.example.", "%61.example", "A.EXAMPLE:00081"):
        assert parse_key("host")(request(host=spelling)) == "a.example", spelling
    assert parse_key("all")(request()) == parse_key("all")(request("192.0.2.9", method="POST"))


def test_joined_values_cannot_pretend_to_be_others() -> None:
    key = parse_key("header:a + header:b")
    assert key(request(a="x", b="yz")) != key(request(a="xy", b="z"))
    assert key(request(a="x2:=y", b="z")) != key(request(a="x", b="y2:=z"))
    assert parse_key("client+method")(request()) != parse_key("client+method")(request(method="PUT"))


def test_route_is_that_of_the_stack() -> None:
    with placed(Place("limit", "api")):
        assert parse_key("route")(request()) == "api"
    with placed(Place("limit", None)), pytest.raises(ValueError, match="route's stack"):
        parse_key("route")
