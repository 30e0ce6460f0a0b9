"""What a run comes to: a table, an HTML report, and an exit status that says whether all was well."""

from __future__ import annotations

import sys

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

REPORT = "pyrox-load.html"


def register() -> None:
    """Let Locust ask for the limits, write a report, and end with 1 when a limit was passed."""
    events.init_command_line_parser.add_listener(_add_options)
    events.quitting.add_listener(_conclude)


def _add_options(parser: LocustArgumentParser) -> None:
    limits = (
        ("--max-failures", int, 0, "requests that may fail"),
        ("--max-p95", float, 0, "milliseconds of the 95th percentile; 0 for any"),
        ("--max-p99", float, 0, "milliseconds of the 99th percentile; 0 for any"),
        ("--min-requests", int, 1, "requests that must have been made"),
    )
    for flag, kind, default, meaning in limits:
        text = f"{meaning}; passed, the exit status is 1 (%(default)s)"
        parser.add_argument(flag, type=kind, default=default, help=text, include_in_web_ui=False)
    parser.add_argument(
        "--think", type=float, default=1.0, help="how many times as long users think (%(default)s)"
    )
    parser.set_defaults(html_file=REPORT)


def _conclude(environment: Environment, **_: object) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return
    faults = faults_of(environment)
    for fault in faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    if not faults:
        print(
            f"passed: {environment.stats.total.num_requests} requests, every answer verified", file=sys.stderr
        )
    environment.process_exit_code = 1 if faults else 0


def faults_of(environment: Environment) -> list[str]:
    """Return the limits that were passed, in words."""
    total, options = environment.stats.total, environment.parsed_options
    faults = []
    if total.num_requests < options.min_requests:
        faults.append(f"{total.num_requests} requests, at least {options.min_requests} were to be made")
    if total.num_failures > options.max_failures:
        faults.append(f"{total.num_failures} requests failed, {options.max_failures} may")
    for share, most in ((0.95, options.max_p95), (0.99, options.max_p99)):
        if most and (took := total.get_response_time_percentile(share)) > most:
            faults.append(f"p{share * 100:.0f} is {took:g} ms, {most:g} may be")
    if environment.runner is not None and environment.runner.exceptions:
        faults.append(f"{len(environment.runner.exceptions)} kinds of exceptions in the users themselves")
    return faults
