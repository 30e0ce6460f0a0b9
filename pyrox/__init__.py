"""Pyrox: an HTTP reverse proxy whose middleware is plain Python.

What a middleware needs is importable from here. Importing it starts nothing and patches nothing.
"""

from pyrox.errors import HTTPError
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.http.server_sent_events import ServerSentEvent
from pyrox.middleware.base import BodyFilter, Middleware
from pyrox.middleware.transform import Flow, Transform

__version__ = "0.6.0"

__all__ = [
    "BodyFilter",
    "Flow",
    "HTTPError",
    "Headers",
    "Middleware",
    "Request",
    "Response",
    "ServerSentEvent",
    "Transform",
    "__version__",
]
