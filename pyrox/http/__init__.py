"""HTTP/1.1 without I/O.

A message is a *head* (start line and header fields) and a *body*. Where a head ends is visible in the
bytes: an empty line. Where a body ends is not; it follows from the head (RFC 9112 section 6), and two
parties that disagree about it is what request smuggling is made of. So the rooms are divided like this:
``head`` turns bytes into heads and back, and refuses what is not beyond doubt; ``framing`` decides
where a body ends and codes it; ``forwarding`` is what a proxy changes between its two sides;
``headers`` and ``message`` are what a middleware sees, ``model`` what a filter of Pyrox 0.4 sees of them.
Nothing in this package knows a socket.
"""

from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.http.model import HttpHeader, HttpMessage, HttpRequest, HttpResponse

__all__ = ["Headers", "HttpHeader", "HttpMessage", "HttpRequest", "HttpResponse", "Request", "Response"]
