"""The load test of Pyrox: users of every kind, who judge every answer they get.

    locust -f loadtests/locustfile.py                         # a web page, against a proxy that it starts
    locust -f loadtests/locustfile.py --headless -u 200 -r 20 -t 1m
    locust -f loadtests/locustfile.py,loadtests/shapes/spike.py --headless

README.md beside this file has the users, the shapes, the limits, and how to run it on many machines.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Locust takes this folder away from the path again when it has read this file; the users need it later.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import running
import verdict
from users import ChurnUser, EventsUser, RestUser, SlowUser, TransferUser, WebSocketUser

running.register()
verdict.register()

__all__ = ["ChurnUser", "EventsUser", "RestUser", "SlowUser", "TransferUser", "WebSocketUser"]
