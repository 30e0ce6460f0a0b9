"""Upstreams: which server gets a request. Decisions only; nothing here knows a socket.

A ``Server`` is an address, a ``Cluster`` a named group of servers with a policy that chooses among
them. The engine asks ``cluster.choose(request, tried)`` and does the rest: connecting, pooling,
retrying on the next server when this one did not take the connection.
"""

from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.server import Server

__all__ = ["Cluster", "Server"]
