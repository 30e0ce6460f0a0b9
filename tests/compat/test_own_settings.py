"""A project of the time that reads its own settings through ``pyrox.util.config``."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrox.util.config import ConfigurationError

OLD_PROJECT = '''
from pyrox.util.config import load_config, ConfigurationPart, ConfigurationError
from pyrox.server.config import LoggingConfiguration

_DEFAULTS = {
    'cache': {
        'port': 5000,
        'ttl': 60,
        'replicate': False,
    },
    'keystone': {
        'endpoint': 'http://localhost:35357/v2.0'
    }
}


def load_filter_config(location='/etc/myfilters/filters.conf'):
    return load_config('old_project_config', location, _DEFAULTS)


class CacheConfiguration(ConfigurationPart):
    """
    Class mapping for the cache section.
    """
    @property
    def port(self):
        return self.getint('port')

    @property
    def ttl(self):
        return self.getint('ttl')

    @property
    def replicate(self):
        return self.getboolean('replicate')

    @property
    def hosts(self):
        hosts = self.get('hosts')
        if not hosts:
            raise ConfigurationError('hosts is missing')
        return [host.strip() for host in hosts.split(',')]


class KeystoneConfiguration(ConfigurationPart):
    pass
'''


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the old project, and return its loader for the text of a file."""
    (tmp_path / "old_project_config.py").write_text(OLD_PROJECT)
    monkeypatch.syspath_prepend(str(tmp_path))

    def load_text(text: str) -> Any:
        (tmp_path / "filters.conf").write_text(textwrap.dedent(text))
        module: Any = importlib.import_module("old_project_config")
        return module.load_filter_config(str(tmp_path / "filters.conf"))

    yield load_text
    sys.modules.pop("old_project_config", None)


def test_old_project_reads_its_own_file(load: Callable[[str], Any]) -> None:
    config = load(
        """
        # Settings of our filters
        [cache]
        port: 5001
        hosts = 10.0.0.1, 10.0.0.2,
            10.0.0.3
        replicate = on

        [keystone]
        endpoint = %(scheme)s://keystone:35357/v2.0 ; by name
        scheme = https
        Auth_Token = 50%

        [somebody_elses]
        x = 1

        [logging]
        console = True
        """
    )
    assert (config.cache.port, config.cache.ttl, config.cache.replicate) == (5001, 60, True)
    assert config.cache.hosts == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert config.cache.get("hosts") == "10.0.0.1, 10.0.0.2,\n10.0.0.3"
    assert config.cache.name() == "cache"
    assert config.cache.options() == ["port", "hosts", "replicate"]
    assert config.keystone.get("endpoint") == "https://keystone:35357/v2.0"
    assert config.keystone.auth_token == "50%"
    assert config.logging.console is True


def test_old_project_runs_on_its_defaults(load: Callable[[str], Any]) -> None:
    config = load("")
    assert (config.cache.port, config.cache.ttl, config.cache.replicate) == (5000, 60, False)
    assert config.cache.options() == []
    assert config.keystone.endpoint == "http://localhost:35357/v2.0"
    assert config.keystone.timeout is None
    with pytest.raises(ConfigurationError, match="hosts is missing"):
        _ = config.cache.hosts
