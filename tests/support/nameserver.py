"""A DNS server whose every answer the test decides, over UDP and TCP on one port.

    with Nameserver() as dns:
        dns.set("users.test", "A", ["127.0.0.1"], ttl=1)
        ...
        dns.wait_for_queries("users.test", "A", 2)

What is not set is NXDOMAIN, unless the name has other records.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.support.wire import TIMEOUT


class Nameserver:
    """Use it in a ``with`` statement; everything may be changed while it runs. It listens at ``host``."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._records: dict[tuple[str, str], tuple[list[str], int]] = {}
        self.is_silent = False  # takes queries and says nothing
        self.fails: set[str] = set()  # kinds that are answered with SERVFAIL
        self.truncates = False  # by UDP, so that TCP must be used
        self.queries: list[tuple[str, str, str]] = []  # name, kind, "udp" or "tcp"
        self._changed = threading.Condition()
        self._host = host
        self._udp, self._tcp = _pair_of_sockets(host)
        self._is_open = True

    def __enter__(self) -> Nameserver:
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        with contextlib.suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        # A datagram wakes the thread that waits for one.
        self._udp.sendto(b"", self._udp.getsockname())
        self._tcp.close()

    @property
    def address(self) -> str:
        """As ``[discovery] nameservers`` wants it."""
        return f"{self._host}:{self._udp.getsockname()[1]}"

    def set(self, name: str, kind: str, values: list[str], ttl: int = 0) -> None:
        """Let ``name`` have these records of ``kind``, in the text of zone files; none for no such record."""
        self._records[name.lower(), kind] = values, ttl

    def remove(self, name: str) -> None:
        """Let there be no such name."""
        self._records = {key: value for key, value in self._records.items() if key[0] != name.lower()}

    def count(self, name: str, kind: str) -> int:
        """How often that was asked."""
        return sum(query[:2] == (name, kind) for query in self.queries)

    def wait_for_queries(self, name: str, kind: str, count: int) -> None:
        """Wait until that was asked ``count`` times since the start."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.count(name, kind) >= count, TIMEOUT):
                raise TimeoutError(f"{name} {kind} was not asked {count} times; queries: {self.queries}")

    def wait_for_more_queries(self, name: str, kind: str, more: int = 2) -> None:
        """Wait until that was asked ``more`` times: when it was twice, the first answer has been used."""
        self.wait_for_queries(name, kind, self.count(name, kind) + more)

    def _serve_udp(self) -> None:
        while True:
            data, peer = self._udp.recvfrom(65535)
            if not self._is_open:
                self._udp.close()
                return
            answer = self._answer(data, "udp")
            if answer is not None:
                self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                with connection:
                    size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
                    answer = self._answer(connection.recv(size, socket.MSG_WAITALL), "tcp")
                    if answer is not None:
                        connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, data: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        with self._changed:
            self.queries.append((name, kind, transport))
            self._changed.notify_all()
        if self.is_silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        values, ttl = self._records.get((name, kind), ([], 0))
        if kind in self.fails:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif self.truncates and transport == "udp":
            response.flags |= dns.flags.TC
        elif values:
            response.answer.append(dns.rrset.from_text(question.name, ttl, "IN", kind, *values))
        elif not any(key[0] == name for key in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()


def _pair_of_sockets(host: str) -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a TCP socket with the same port."""
    for _ in range(100):
        tcp = socket.create_server((host, 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:  # somebody else's
            tcp.close()
            udp.close()
        else:
            return udp, tcp
    raise OSError("no port is free for both UDP and TCP")
