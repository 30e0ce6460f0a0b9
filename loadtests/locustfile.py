"""A load of mixed requests against the demo upstream behind the proxy; every answer is checked.

    ./pyrox_dev.sh start                      # in one terminal
    make load                                 # in another

Wrong content counts as a failure, and so does an answer that did not come through Pyrox.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
from urllib.parse import urlsplit

from locust import FastHttpUser, between, events, task
from locust.env import Environment

PATTERN = bytes(range(256))
UPLOAD = os.urandom(256 * 1024)
UPLOAD_REPORT = {"size": len(UPLOAD), "sha256": hashlib.sha256(UPLOAD).hexdigest()}


class Visitor(FastHttpUser):
    """Someone who keeps a connection, mostly reads small pages and sometimes moves a body."""

    wait_time = between(0.01, 0.1)

    @task(20)
    def echo(self) -> None:
        token = f"{random.getrandbits(64):x}"
        with self.client.post(f"/echo?{token}", data=token, name="/echo", catch_response=True) as answer:
            report = answer.json()
            if (report["target"], report["body"]) != (f"/echo?{token}", token):
                answer.failure(f"echo of another request: {report}")
            elif "Via: 1.1 pyrox" not in report["headers"]:
                answer.failure("did not come through Pyrox")

    @task(5)
    def download(self) -> None:
        size = random.choice((0, 1, 65536, 300_000))
        with self.client.get(f"/bytes/{size}", name="/bytes", catch_response=True) as answer:
            if answer.content != (PATTERN * (size // 256 + 1))[:size]:
                answer.failure(f"wrong content for /bytes/{size}")

    @task(3)
    def chunks(self) -> None:
        with self.client.get("/stream/50", name="/stream", catch_response=True) as answer:
            if answer.text != "".join(f"line {number}\n" for number in range(50)):
                answer.failure("lines are missing or out of order")

    @task(3)
    def upload(self) -> None:
        with self.client.post("/upload", data=UPLOAD, catch_response=True) as answer:
            if answer.json() != UPLOAD_REPORT:
                answer.failure("the upload did not arrive as it was sent")

    @task(2)
    def status(self) -> None:
        status = random.choice((204, 304, 404, 500, 503))
        with self.client.get(f"/status/{status}", name="/status", catch_response=True) as answer:
            if answer.status_code == status:
                answer.success()
            else:
                answer.failure(f"{answer.status_code} instead of {status}")

    @task(1)
    def give_up(self) -> None:
        """Leave in the middle of a download; the proxy must survive it, and so must everybody else."""
        address = urlsplit(self.host)
        with socket.create_connection((address.hostname, address.port or 80), timeout=5) as connection:
            connection.sendall(b"GET /bytes/10000000 HTTP/1.1\r\nHost: load.test\r\n\r\n")
            connection.recv(1000)


@events.quitting.add_listener
def fail_when_anything_failed(environment: Environment, **_: object) -> None:
    """Exit with 1 unless requests were made and all of them were answered as they should be."""
    total = environment.stats.total
    environment.process_exit_code = 0 if total.num_requests and not total.num_failures else 1
