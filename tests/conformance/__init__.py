"""What the wire must look like: ``cases/*.txt`` are transcripts, ``test_transcripts.py`` plays them.

A file starts with the configuration of its proxy; then come the cases, each under ``== its name``. A case
reads like a record of both sides of the proxy, in time order. The arrows say who speaks::

    > GET / HTTP/1.1            the client sends (each line with its CRLF)
    > Host: a.test
    >
    >> GET / HTTP/1.1           the upstream must see
    >> Host: a.test
    >>
    << HTTP/1.1 200 OK          the upstream sends
    << Content-Length: 2
    <<
    << ok\\
    < HTTP/1.1 200 OK           the client must get
    < Content-Length: 2
    <
    < ok\\

In these lines ``\\r \\n \\t \\0 \\xHH \\\\`` are bytes, ``\\{3*ab}`` is ``ababab``, and a backslash at the
end means that no CRLF follows. An empty line of the file separates two messages of one side; ``#`` starts a
comment.

What is not written must not happen: a request, or a piece of one, that reaches the upstream and stands in
no ``>>`` fails the case, and so does a byte for the client where ``<! closed`` stands. After every case
another client sends a plain request through the same proxy; it must be the next thing the upstream sees,
and be answered by the same process.

Expected messages are compared like this: the start line; order, case and bytes of the end-to-end fields;
the decoded body. Fields that belong to the proxy (``expectations.py`` lists them) may stand anywhere; those
that every message gets, Via, X-Forwarded-* and Date, need not be written. The value ``<any>`` stands for
every value, ``<none>`` says that there is no such field, ``<upstream>`` is the upstream's host and port.

Lines with ``!`` are directions:

* ``>! half-close | reset | close``: what the client does to its connection.
* ``<<! half-close | reset | close``: what the upstream does to that of the request it saw last.
* ``<<! ok``: the upstream answers 200 with the body ``ok``, and the client gets just that.
* ``>>! head``, ``<! head``: the next message is a head only; what ``>>`` has left follows ``>>! body``.
* ``>>! same | other``: the next request comes on the connection of the one before it, or on another.
* ``>>! cut``: requests that end before they are complete may be seen, since the proxy aborts them.
* ``>>! discarded | kept | ended``: the proxy closes the upstream's connection; lets the next client's
  request use it; or ends its own side of it and reads on.
* ``>>! trailer Name: value``, ``<! trailer ...``: a trailer of the message before.
* ``>>! bytes ...``, ``<! bytes ...``: exactly these bytes come, framing included; no CRLF is added.
* ``<! 400 [error token] [json] [open]``: an answer of the proxy itself, text/plain or problem+json; then
  it closes, unless it says ``open``.
* ``<! local``: the message before is the proxy's or a middleware's, so it has no Via.
* ``<! no body``: the message before has none, whatever its fields say (HEAD).
* ``<! truncated``: the message before breaks off, and the client can tell; ``<! broken off``: so does a
  chunked body whose start was read before.
* ``<! closed | reset``: nothing more comes, and the connection ends.
* ``<! open``: the connection goes on; the next plain request is sent on it.
* ``<! silence``: nothing comes for a moment.
"""
