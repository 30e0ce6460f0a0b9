"""What clients are told of their quotas: RateLimit, RateLimit-Policy and their older relatives.

The first two are those of draft-ietf-httpapi-ratelimit-headers-11: lists (RFC 9651) with one item for each
policy. ``q`` is the quota and ``w`` its window; ``r`` what is left of it for ``t`` seconds. Times are whole
seconds, rounded up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil

from pyrox.http.error_response import PROBLEM, prefers_problem
from pyrox.http.headers import Field
from pyrox.middleware.limiting.demands import Verdict
from pyrox.middleware.limiting.policies import Policy

# A problem type of the draft, section 5.1.
_QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"


class Fields:
    """Makes the fields for one set of policies; ``standard`` and ``legacy`` say which."""

    def __init__(self, policies: Sequence[Policy], standard: bool, legacy: bool) -> None:
        self._policies = policies
        self._legacy = legacy
        self._standard = standard
        listed = ", ".join(f'"{policy.name}";q={policy.quota};w={policy.window}' for policy in policies)
        self._policy_field: Field = (b"ratelimit-policy", b"RateLimit-Policy", listed.encode())

    def of(self, verdicts: Sequence[Verdict]) -> list[Field]:
        """Return the fields for a request that passes."""
        fields: list[Field] = []
        if self._standard:
            items = [
                f'"{policy.name}";r={verdict.remaining};t={ceil(verdict.reset)}'
                for policy, verdict in zip(self._policies, verdicts, strict=True)
            ]
            fields += [self._policy_field, (b"ratelimit", b"RateLimit", ", ".join(items).encode())]
        if self._legacy:
            fields += self._legacy_fields(verdicts)
        return fields

    def of_refusal(self, verdicts: Sequence[Verdict]) -> list[Field]:
        """Return the fields for a request that is refused.

        Only the policies that refuse it are told of: the draft wants no window to end after Retry-After.
        """
        fields: list[Field] = []
        refusals = [
            (policy, verdict)
            for policy, verdict in zip(self._policies, verdicts, strict=True)
            if not verdict.granted
        ]
        if self._standard:
            items = [f'"{policy.name}";r={v.remaining};t={_delay(v.retry)}' for policy, v in refusals]
            fields += [self._policy_field, (b"ratelimit", b"RateLimit", ", ".join(items).encode())]
        if self._legacy:
            fields += self._legacy_fields(verdicts)
        wait = max(_delay(verdict.retry) for _, verdict in refusals)
        return [*fields, (b"retry-after", b"Retry-After", b"%d" % wait)]

    def _legacy_fields(self, verdicts: Sequence[Verdict]) -> list[Field]:
        """Return X-RateLimit-* of the one policy that is closest to its end, with the reset as a delay."""
        pairs = zip(self._policies, verdicts, strict=True)
        policy, verdict = min(pairs, key=lambda pair: (pair[1].granted, pair[1].remaining / pair[0].most))
        reset = ceil(verdict.reset) if verdict.granted else _delay(verdict.retry)
        return [
            (b"x-ratelimit-limit", b"X-RateLimit-Limit", b"%d" % policy.most),
            (b"x-ratelimit-remaining", b"X-RateLimit-Remaining", b"%d" % verdict.remaining),
            (b"x-ratelimit-reset", b"X-RateLimit-Reset", b"%d" % reset),
        ]


def _delay(seconds: float) -> int:
    """Return whole seconds, rounded up and never 0: who waits so long must not come too early."""
    return max(ceil(seconds), 1)


def refusal_text(names: Sequence[str], accept: str | None) -> tuple[str, str]:
    """Return the body of a 429 and its media type: text, or the draft's problem type to who prefers that."""
    if not prefers_problem(accept):
        return "too many requests; Retry-After says when to come again\n", "text/plain; charset=utf-8"
    problem = {
        "type": _QUOTA_EXCEEDED,
        "title": "Too Many Requests",
        "status": 429,
        "violated-policies": list(names),
    }
    return json.dumps(problem) + "\n", PROBLEM
