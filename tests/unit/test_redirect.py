"""Where a request is sent to; what a real client makes of it is in the integration tests."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import HTTPError
from pyrox.http.message import Request
from pyrox.redirect import RedirectToHttps


@pytest.mark.parametrize(("port", "authority"), [(443, "a.test"), (8443, "a.test:8443"), (80, "a.test:80")])
def test_port_is_named_unless_everybody_knows_it(port: int, authority: str) -> None:
    response = RedirectToHttps(port)(Request("GET", "/a?b", {"Host": "a.test:8080"}))
    assert (response.status, response.headers["location"]) == (301, f"https://{authority}/a?b")
    assert response.made_by == "pyrox"


def test_request_without_host_has_nowhere_to_go() -> None:
    with pytest.raises(HTTPError) as refused:
        RedirectToHttps(443)(Request("GET", "/"))
    assert refused.value.status == 400


@given(
    st.text(st.characters(max_codepoint=255), max_size=20)
    | st.from_regex(r"[a-z.@:/\\#\[\]%]{0,12}", fullmatch=True)
)
def test_location_is_at_the_host_or_there_is_none(host: str) -> None:
    request = Request("GET", "/a")
    request.headers.fields.append((b"host", b"Host", host.encode("latin-1")))
    try:
        location = RedirectToHttps(443)(request).headers["location"]
    except HTTPError:
        return
    match = re.fullmatch(r"https://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])/a", location)
    assert match
    assert host.startswith(match[1])
