"""Upstreams: which server gets a request. Decisions only; nothing here knows a socket or a clock.

A ``Server`` is an address. A ``Cluster`` is a named group of servers that do the same work; each stands in
it as a ``Member``, with its weight and with what this worker knows of it: how many of its exchanges are in
flight, how long it takes to answer. A ``Policy`` chooses among a ``Lineup``, the members that may be chosen
now. The engine asks ``cluster.choose(request, now)``, counts the try in ``member.in_flight`` from its first
step to its last byte, and tells a cluster that ``listens`` what became of it::

    choose ──> connect, send, read the head ──┬──> answered ──> ... the body, the tunnel ... ──> closed
       ^                                      │
       └────────── choose(tried=...) <── failed

A cluster that has a ``Guard`` does more about failure and overload: then the engine asks the guard's ``Gate``
for a ``Place`` at a member, tells the guard how each try ended, and goes by its rules after a failure.

Servers may come and go: a ``Discovery`` gives its cluster other members when a ``Resolver`` has found other
servers, and those that stay keep their ``Member``. A server whose URL begins with ``wsgi:`` is an
application instead of an address; ``Call`` is what PEP 3333 says of one request to it.

Times are seconds of any clock that only goes forward, and are passed in.
"""

from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member
from pyrox.upstreams.server import Server

__all__ = ["Cluster", "Member", "Server"]
