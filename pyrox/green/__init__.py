"""The engine: bytes in and out, and no policy. The only package that imports gevent.

Each client connection has a greenlet, and the greenlet runs ordinary blocking code: read a head, call
the stack of middleware, send what it returns, repeat. To block means to be recorded as the one who
waits on a stream and to switch to the hub, gevent's event loop, which switches back when the socket is
ready. So there are no callbacks and no state machines above ``stream``, and back-pressure needs no
code either: whoever does not read leaves the bytes in the kernel, and the sender blocks.

Read it from the outside in. ``application`` is gunicorn's master around the settings and ``worker`` one
process of it; ``engine`` is what the worker builds once; ``server`` accepts; ``crew`` has the greenlets;
``client`` is the keep-alive loop of one connection and ``exchange`` one turn of it; ``forwarder`` is the
innermost handler, which gets an ``upstream`` connection from the ``pool`` and sends it the request, a
body beside it by ``upload``; ``failover``, with ``hedging``, does that for clusters that retry, queue and
break circuits, from a ``kept_body``; ``respond`` sends the answer; ``tunnel`` takes over after a 101.
Below them all, ``body`` reads bodies off a ``stream``, or lets long ones through ``pipes``, ``tls`` is a
stream that encrypts, and ``deadlines`` is the one clock that ends whatever takes too long.
``proxy_protocol`` says whose connection it is where a peer only passes it on. ``demo`` is an upstream to
try things with.

Importing these modules starts nothing and patches nothing; ``worker`` patches, after the fork.
"""
