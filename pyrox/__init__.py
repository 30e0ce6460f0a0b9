"""Pyrox: an HTTP reverse proxy whose middleware is plain Python.

What a middleware needs is importable from here. Importing it starts nothing and patches nothing.
"""

from pyrox.errors import HTTPError
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.middleware.base import BodyFilter, Middleware

__version__ = "0.6.0"

__all__ = ["BodyFilter", "HTTPError", "Headers", "Middleware", "Request", "Response", "__version__"]
