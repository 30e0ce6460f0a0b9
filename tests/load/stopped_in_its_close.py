"""A program: stops a WebSocket user of the load test whose server does not answer its close; ends with 0.

A program, because Locust patches the sockets of its process.
"""

from __future__ import annotations

import random
import socket

import gevent
import users
import websocket
from gevent.event import Event
from locust.env import Environment
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage


def echo(server: socket.socket, closing: Event) -> None:
    connection = Connection(ConnectionType.SERVER)
    while data := server.recv(4096):
        connection.receive_data(data)
        for event in connection.events():
            if isinstance(event, TextMessage):
                server.sendall(connection.send(TextMessage(event.data)))
            elif isinstance(event, CloseConnection):
                closing.set()


def connect(*_: object, **__: object) -> websocket.WebSocket:
    connection = websocket.WebSocket()
    connection.sock, connection.connected = client, True
    client.settimeout(10)
    return connection


client, server = socket.socketpair()
closing = Event()
websocket.create_connection = connect
random.uniform = lambda *_: 0.0  # no pauses
users.WebSocketUser.host = "http://test"
user = users.WebSocketUser(Environment())
gevent.spawn(echo, server, closing)
talking = gevent.spawn(user.talk)
assert closing.wait(10), "no close came"
talking.kill()
assert isinstance(talking.value, gevent.GreenletExit), f"the stop was taken for {talking.value!r}"
