"""A resolver: the servers of clusters are in a JSON file that another program writes."""

from __future__ import annotations

import json
from pathlib import Path

from pyrox.upstreams.resolver import Resolution, ResolveError, Resolver, parse_found


class JsonServers(Resolver):
    """Finds the servers of its cluster in a file such as ``{"shop": [{"host": "10.0.0.1", "port": 80}]}``.

    * ``path``: the file.
    * ``every``: seconds between two looks at it. Default 5.
    """

    def __init__(self, cluster: str, path: Path, every: float = 5.0) -> None:
        if every <= 0:
            raise ValueError("every: must be more than 0; leave it out for 5")
        self._cluster = cluster
        self._path = path
        self._every = every

    def resolve(self) -> Resolution:
        """Return what the file says now; whatever is wrong with it leaves the servers as they are."""
        try:
            servers = json.loads(self._path.read_text())[self._cluster]
            found = [parse_found(f"http://{server['host']}:{server['port']}") for server in servers]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ResolveError(f"{self._path}: {error}") from error
        return Resolution(found, self._every)
