"""Fields that say who the client is: no client can send them, in whatever part of a message."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pyrox.errors import ClientError
from pyrox.http.certificate import ClientCertificate
from pyrox.http.forwarding import ClientSide
from pyrox.http.framing import ChunkedDecoder, ChunkLimits
from pyrox.http.head import HeadLimits, parse_request_head
from pyrox.http.head_cache import HeadCache
from pyrox.http.message import Request

NAMES = frozenset({b"x-subject"})
FIELD = (b"x-subject", b"X-Subject", b"CN=ada")
SPELLINGS = [b"X-Subject", b"x-subject", b"X-SUBJECT"]


def limits(underscores: str = "drop") -> HeadLimits:
    return HeadLimits(underscore_headers=underscores, identity_fields=NAMES)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET / HTTP/1.1", b"Host: a.test", *lines, b"", b""])


def told(request: Request) -> list[str]:
    return [value for name, value in request.headers.items() if name.lower().replace("_", "-") == "x-subject"]


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("underscores", ["drop", "allow", "reject"])
def test_claim_of_a_client_is_dropped(name: bytes, underscores: str) -> None:
    cache = HeadCache(limits(underscores))
    for _ in range(2):  # the second is a copy
        request = cache.request(head(name + b": CN=root", b"X-Other: 1", name + b": CN=root"))
        assert told(request) == []
        ClientSide("192.0.2.1").receive(request)
        assert told(request) == []
        assert request.headers["x-other"] == "1"


@pytest.mark.parametrize("name", [b"X.Subject", b"X+SUBJECT"])
def test_other_characters_are_no_way_round(name: bytes) -> None:
    """Some servers make HTTP_X_SUBJECT of these, too."""
    request = parse_request_head(head(name + b": CN=root", b"X.Other: 1"), limits())
    ClientSide("192.0.2.1", trusted_proxies=(ip_network("192.0.2.1"),)).receive(request)
    assert [field[1] for field in request.headers.fields if field[1][:2] == b"X."] == [b"X.Other"]
    assert not any(b"subject" in field[0] for field in request.headers.fields)


@pytest.mark.parametrize("name", [b"Content.Length", b"Transfer.Encoding", b"Ho.st", b"T.E", b"Connection."])
def test_what_only_looks_like_a_field_of_the_connection_is_any_field(name: bytes) -> None:
    request = parse_request_head(head(name + b": chunked"), limits())
    assert (request.content_length, request.headers[name.decode()]) == (None, "chunked")


@pytest.mark.parametrize("name", [b"X_Subject", b"x_subject"])
def test_underscores_are_no_way_round(name: bytes) -> None:
    for underscores in ("drop", "allow"):
        request = parse_request_head(head(name + b": CN=root"), limits(underscores))
        ClientSide("192.0.2.1", trusted_proxies=(ip_network("192.0.2.1"),)).receive(request)
        assert told(request) == []
    with pytest.raises(ClientError):
        parse_request_head(head(name + b": CN=root"), limits("reject"))


def test_other_names_with_underscores_are_what_the_option_says() -> None:
    assert "x_other" in parse_request_head(head(b"X_Other: 1"), limits("allow")).headers
    assert "x_other" not in parse_request_head(head(b"X_Other: 1"), limits("drop")).headers


@pytest.mark.parametrize("underscores", ["drop", "allow", "reject"])
@pytest.mark.parametrize("name", [b"Keep-Alive", b"Trailer", b"Proxy-Connection", b"Proxy-Authorization"])
def test_fields_of_this_hop_are_no_claims(name: bytes, underscores: str) -> None:
    request = parse_request_head(head(name + b": x", b"X-Kept: 1"), limits(underscores))
    assert [field[0] for field in request.headers.fields] == [b"host", b"x-kept"]
    assert request.claims is None


def received(side: ClientSide, *lines: bytes) -> list[str]:
    request = parse_request_head(head(*lines), limits())
    side.receive(request)
    return told(request)


def test_trusted_peer_is_believed_where_nobody_is_asked() -> None:
    side = ClientSide("192.0.2.1", trusted_proxies=(ip_network("192.0.2.1"),))
    assert received(side, b"X-Subject: CN=bob") == ["CN=bob"]


@pytest.mark.parametrize("networks", [(), (ip_network("192.0.2.1"),)])
def test_nobody_is_believed_where_clients_are_asked(networks: tuple) -> None:
    side = ClientSide("192.0.2.1", trusted_proxies=networks)
    side.identify(None, ())
    assert received(side, b"X-Subject: CN=root", b"X-Forwarded-For: 10.0.0.1") == []
    side.identify(ClientCertificate("CN=ada"), (FIELD,))
    assert side.certificate == ClientCertificate("CN=ada")
    assert received(side) == ["CN=ada"]
    assert received(side, b"X-Subject: CN=root", b"X-Forwarded-For: 10.0.0.1") == ["CN=ada"]


def test_connection_cannot_name_what_is_told() -> None:
    side = ClientSide("192.0.2.1")
    side.identify(ClientCertificate("CN=ada"), (FIELD,))
    assert received(side, b"Connection: x-subject", b"X-Subject: CN=root") == ["CN=ada"]


@pytest.mark.parametrize("name", [*SPELLINGS, b"X_Subject", b"X.Subject"])
def test_trailers_are_no_way_round(name: bytes) -> None:
    decoder = ChunkedDecoder(ClientError, ChunkLimits(identity_fields=NAMES))
    decoder.feed(b"0\r\n" + name + b": CN=root\r\nX-Other: 1\r\n\r\n")
    assert [field[0] for field in decoder.trailers] == [b"x-other"]


@pytest.mark.parametrize(
    "name", [*SPELLINGS, b"X_Subject", b"x-Subject", b"X.Subject", b"X~subject", b"X!Subject"]
)
@pytest.mark.parametrize("underscores", ["drop", "allow"])
def test_reserved_field_is_taken_from_nobody(name: bytes, underscores: str) -> None:
    for identity_fields in (frozenset(), NAMES):
        limits = HeadLimits(
            underscore_headers=underscores, identity_fields=identity_fields, reserved_fields=NAMES
        )
        cache = HeadCache(limits)
        side = ClientSide("192.0.2.1", trusted_proxies=(ip_network("192.0.2.1"),))
        for _ in range(2):
            request = cache.request(head(name + b": root", b"X-Other: 1", name + b": root"))
            side.receive(request)
            assert told(request) == []
            assert request.headers["x-other"] == "1"
