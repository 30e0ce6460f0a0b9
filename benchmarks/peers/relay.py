"""A raw byte relay on ``gevent.socket``: no HTTP at all, one upstream connection per client connection.

The floor that any gevent proxy stands on: ``recv`` and ``sendall``, one greenlet for each direction.
Usage: ``relay.py PORT ORIGIN_PORT``
"""

from __future__ import annotations

import sys

import gevent
from gevent import socket
from gevent.server import StreamServer


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until ``source`` ends, then pass the end on."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


def main() -> None:
    port, origin_port = int(sys.argv[1]), int(sys.argv[2])

    def relay(client: socket.socket, _address: object) -> None:
        upstream = socket.socket()  # create_connection would ask the resolver's thread pool first
        upstream.connect(("127.0.0.1", origin_port))
        for side in (client, upstream):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = gevent.spawn(pump, upstream, client)
        pump(client, upstream)
        answers.join()
        upstream.close()

    StreamServer(("127.0.0.1", port), relay, backlog=4096).serve_forever()


if __name__ == "__main__":
    main()
