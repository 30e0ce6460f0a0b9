"""Whose X-Forwarded-* count: peers in ``trusted_proxies``, by their address or by their unix socket."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pyrox.http.forwarding import ClientSide, Peers, is_among
from pyrox.http.head import HeadLimits, parse_request_head
from pyrox.http.message import Request

LOCAL: Peers = ("unix",)
OFFICE: Peers = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


def received(side: ClientSide, *fields: bytes) -> Request:
    head = b"\r\n".join([b"GET / HTTP/1.1", b"Host: a.test", *fields, b"", b""])
    request = parse_request_head(head, HeadLimits())
    side.receive(request)
    return request


@pytest.mark.parametrize(
    ("address", "peers", "is_one"),
    [
        ("unix", LOCAL, True),
        ("unix", (*OFFICE, "unix"), True),
        ("unix", OFFICE, False),
        ("10.1.2.3", (*OFFICE, "unix"), True),
        ("10.1.2.3", LOCAL, False),
        ("::ffff:10.1.2.3", OFFICE, True),
        ("2001:db8::1", OFFICE, True),
        ("192.0.2.1", (*OFFICE, "unix"), False),
    ],
)
def test_peers_are_networks_and_unix(address: str, peers: Peers, is_one: bool) -> None:
    assert is_among(address, peers) is is_one


def test_the_claims_of_a_trusted_peer_at_a_unix_socket_count() -> None:
    side = ClientSide("unix", trusted_proxies=LOCAL)
    request = received(side, b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https")
    assert (side.trusted, request.client_address, request.scheme) == (True, "203.0.113.9", "https")
    assert request.headers["x-forwarded-for"] == "203.0.113.9, unknown"


def test_those_of_any_other_peer_at_a_unix_socket_do_not() -> None:
    side = ClientSide("unix", trusted_proxies=OFFICE)
    request = received(side, b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https")
    assert (side.trusted, request.client_address, request.scheme) == (False, "unix", "http")
    assert request.headers["x-forwarded-for"] == "unknown"


@pytest.mark.parametrize("claim", [b"unix", b"unix:", b"unknown"])
def test_a_client_cannot_claim_to_have_come_by_the_socket(claim: bytes) -> None:
    side = ClientSide("unix", trusted_proxies=LOCAL)
    chain = b"X-Forwarded-For: 203.0.113.9, " + claim + b", 198.51.100.7"
    assert received(side, chain).client_address == "198.51.100.7"
    side = ClientSide("10.0.0.1", trusted_proxies=(*OFFICE, "unix"))
    assert received(side, chain.removesuffix(b", 198.51.100.7")).client_address == "10.0.0.1"


def test_a_client_that_a_balancer_names_as_of_a_unix_socket_is_not_of_ours() -> None:
    balancer = ClientSide("10.0.0.1", trusted_proxies=LOCAL)
    assert balancer.named("unix", 0, tls=False).trusted is False
