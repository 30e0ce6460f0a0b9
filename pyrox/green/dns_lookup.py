"""``DnsLookup``: asks nameservers, by dnspython on gevent sockets; others run while it waits for answers."""

from __future__ import annotations

from typing import Any

from pyrox.errors import ConfigError
from pyrox.middleware.extras import require
from pyrox.settings import Settings
from pyrox.upstreams.dns import LookupFailed, NoRecords, Records, Service

_PATIENCE = 2.0  # seconds until another nameserver is asked, or the same again
_PAYLOAD = 1232  # bytes of an answer by UDP: what gets through everywhere (DNS flag day 2020)


class DnsLookup:
    """Asks the nameservers of ``settings``, or those of the system as they were when this was made.

    It keeps no cache: whoever asks knows when it is time to. An answer that was cut off is asked for again by
    TCP. Raises ``ConfigError`` when there is no nameserver to ask.
    """

    def __init__(self, settings: Settings) -> None:
        # After patching, or its sockets would be the ones that stop the whole worker.
        self._dns = require("dns.resolver", "dns")
        discovery = settings.discovery
        try:
            self._resolver = self._dns.Resolver(configure=not discovery.nameservers)
        except self._dns.NoResolverConfiguration as error:
            reason = f"names none, and neither does the system ({error}); name one"
            raise ConfigError([f"{settings.source}: [discovery] nameservers: {reason}"]) from None
        if discovery.nameservers:
            nameserver = require("dns.nameserver", "dns")
            self._resolver.nameservers = [
                nameserver.Do53Nameserver(address.strip("[]"), int(port))
                for address, _, port in (text.rpartition(":") for text in discovery.nameservers)
            ]
        self._resolver.lifetime = discovery.dns_timeout
        self._resolver.timeout = min(_PATIENCE, discovery.dns_timeout)
        self._resolver.use_edns(0, 0, _PAYLOAD)

    def query(self, name: str, kind: str) -> Records:
        """Return the records of ``kind`` for ``name``; raises ``LookupFailed`` or ``NoRecords``."""
        try:
            answer = self._resolver.resolve(name, kind, search=False)
        except self._dns.NXDOMAIN:
            raise NoRecords(f"{name}: there is no such name") from None
        except self._dns.NoAnswer:
            raise NoRecords(f"{name}: there is no {kind} record") from None
        except self._dns.LifetimeTimeout:  # its own text differs each time, and would be logged each time
            raise LookupFailed(f"{name} {kind}: no answer within {self._resolver.lifetime:g} s") from None
        except Exception as error:  # of dnspython, or of a socket
            raise LookupFailed(f"{name} {kind}: {error or type(error).__name__}") from None
        ttl = float(answer.chaining_result.minimum_ttl)
        if kind == "SRV":
            return Records(ttl, services=tuple(map(_service, answer)))
        return Records(ttl, tuple(record.address for record in answer))


def _service(record: Any) -> Service:
    return Service(
        record.priority, record.weight, record.port, record.target.to_text(omit_final_dot=True).strip(".")
    )
