"""``Upload``: a request body on its way upstream, in a greenlet of its own.

The exchange's greenlet waits for the response meanwhile, so that an early answer (413, 401) is seen
while the body is still coming.
"""

from __future__ import annotations

import gevent

from pyrox.errors import UpstreamClosed
from pyrox.green.body import RELAY_THRESHOLD, BodyReader, LengthReader
from pyrox.green.stream import SocketStream
from pyrox.http.framing import encode_chunk, encode_last_chunk, forwardable_trailers
from pyrox.http.message import Request


class Upload:
    """Sends the body of ``request`` to ``destination``.

    It ended at tick ``ended``, None as long as it goes on; ``is_complete`` if all of it was sent. A failure
    of the client or of a body filter is handed to ``destination``, where the exchange's greenlet waits;
    when the server takes no more, that greenlet is the one to find out why.
    """

    __slots__ = ("_chunked", "_destination", "_greenlet", "_reader", "_request", "ended", "is_complete")

    def __init__(self, request: Request, reader: BodyReader | None, destination: SocketStream, chunked: bool):
        self._request = request
        self._reader = reader
        self._destination = destination
        self._chunked = chunked
        self.is_complete = False
        self.ended: int | None = None
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Stop sending, if it still does, and wait until it has stopped."""
        if not self.is_complete:
            self._greenlet.kill()

    def _run(self) -> None:
        try:
            self._send()
            self.is_complete = True
        except UpstreamClosed:
            pass  # an early answer may be waiting; reading it, or its absence, is the other's part
        except (Exception, gevent.Timeout, SystemExit) as error:
            self._destination.fail(error)
        finally:
            self.ended = self._destination.now

    def _send(self) -> None:
        request, send = self._request, self._destination.send
        if not self._chunked:
            reader = request._body
            if isinstance(reader, LengthReader) and reader.left > RELAY_THRESHOLD:
                reader.relay(self._destination)
            for piece in request.stream():
                send(piece)
            return
        for piece in request.stream():
            send(encode_chunk(piece))
        send(encode_last_chunk(self._trailers()))

    def _trailers(self) -> list[tuple[bytes, bytes, bytes]]:
        if self._request.trailers is not None:
            return self._request.trailers.fields
        return forwardable_trailers(self._reader.trailers) if self._reader else []
