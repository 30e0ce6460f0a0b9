"""Knows one name, google.com, and says who was asked for; nothing of it leaves the machine."""
import os
import socket

import gevent.socket
import pyrox.filtering as filtering

_getaddrinfo = gevent.socket.getaddrinfo


def _look_up(host, port, *args, **kwargs):
    print('looked up {} port {}'.format(host.decode('ascii'), port))
    if host != b'google.com' or port != 80 or 'GOOGLE' not in os.environ:
        raise socket.gaierror(socket.EAI_NONAME, 'no such name here')
    return _getaddrinfo('127.0.0.1', int(os.environ['GOOGLE']), *args, **kwargs)


class PhoneBook(object):
    def __init__(self):
        gevent.socket.getaddrinfo = _look_up

    @filtering.handles_request_head
    def on_request_head(self, request_head):
        pass
