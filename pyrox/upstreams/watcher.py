"""``Watcher``: whoever wants to know how the tries at the members of a cluster end."""

from __future__ import annotations

from pyrox.http.message import Response
from pyrox.upstreams.member import Member


class Watcher:
    """Told of every try, by ``Cluster.watch``; it may exclude and include members while it is told."""

    def answered(self, member: Member, response: Response, seconds: float, now: float) -> None:
        """The head of ``response`` came from ``member``, ``seconds`` after the try began."""

    def failed(self, member: Member, seconds: float, now: float) -> None:
        """No response came from ``member``; that was clear after ``seconds``."""

    def broke_off(self, member: Member, now: float) -> None:
        """A response from ``member``, of which ``answered`` told, did not come whole."""

    def tick(self, now: float) -> None:
        """Time goes by; called a few times a second."""
