"""Middleware: policy, in plain Python.

An app is a callable from ``Request`` to ``Response``. A middleware is an app that holds the next app,
so a stack of them is an onion: a request goes in through each layer, the innermost handler sends it
upstream, and the response comes out through the same layers in reverse. Each client connection has a
greenlet of its own, so a middleware may block: on a database, a lock, a sleep. The stack is folded
once, at start-up, by ``build_stack``.
"""

from pyrox.middleware.base import App, BodyFilter, Middleware

__all__ = ["App", "BodyFilter", "Middleware"]
