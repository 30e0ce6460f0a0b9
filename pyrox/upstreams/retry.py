"""``RetryRules``: what is sent a second time, how often, and after which pause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyrox.http.message import Request, Response

# RFC 9110 9.2.2, and QUERY: sent twice, they do what they do once.
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"))


@dataclass(frozen=True, slots=True)
class RetryRules:
    """When a request that a server may have seen is sent again.

    * ``retries``: how often, at most. A connect that failed is not counted: nothing was sent.
    * ``failures``: what a server may have done: names of ``UpstreamError.failure``.
    * ``statuses``: answers that count as failures.
    * ``longest_body``: bytes of a request body that are kept to be sent again.
    * ``pause`` and ``longest_pause``: seconds. The nth pause is a random part of ``pause`` doubled n - 1
      times, so that those who failed at the same moment do not come back at the same moment.
    """

    retries: int = 0
    failures: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    longest_body: int = 0
    pause: float = 0.0
    longest_pause: float = 0.0

    def __bool__(self) -> bool:
        return self.retries > 0 and bool(self.failures or self.statuses)

    def pause_before(self, retry: int, random: Callable[[], float]) -> float:
        """Return the seconds before the nth ``retry``, from 1 on ("full jitter")."""
        # A float has room for 2 ** 1000, and nobody retries that often.
        return random() * min(self.longest_pause, self.pause * 2.0 ** min(retry - 1, 60))


NO_RETRIES = RetryRules()


def may_send_again(request: Request) -> bool:
    """Whether a server that has seen ``request`` may see it again; its body is another question."""
    return request._method in IDEMPOTENT and request.upgrade is None


def retry_after(response: Response) -> float | None:
    """Return the seconds of ``Retry-After`` (RFC 9110 10.2.3): 0.0 without one, None when it is a date."""
    value = response.headers.get("retry-after", "0").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
