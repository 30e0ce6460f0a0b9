"""What an old module asks for at import, inside a running proxy: logger, configuration, version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrox import __version__
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

PLUGIN = """
import os

from pyrox import Middleware, Response
from pyrox.about import VERSION
from pyrox.log import get_logger
from pyrox.server.config import load_pyrox_config

_LOG = get_logger(__name__)
_CONFIG = load_pyrox_config(os.environ['PYROX_TEST_FOLDER'] + '/pyrox.ini')


class Tells(Middleware):
    def __call__(self, request):
        _LOG.debug('not to be seen')
        _LOG.info('asked for %s', request.path)
        hosts = ' '.join(_CONFIG.routing.upstream_hosts)
        return Response(200, f'{VERSION} {hosts} {_CONFIG.core.plugin_paths == [os.path.dirname(__file__)]}')
"""

CONFIG = """
[core]
plugin_paths = {plugins}
[logging]
console = True
verbosity = INFO
access_log =
[routing]
upstream_hosts = http://127.0.0.1:1, http://127.0.0.1:2
[middleware]
stack = tells
[[tells]]
class = old_module.Tells
"""


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    (tmp_path / "old_module.py").write_text(PLUGIN)
    with running_proxy(CONFIG.format(plugins=tmp_path)) as proxy:
        yield proxy


def test_old_module_knows_its_proxy_and_is_heard_in_its_log(proxy: Proxy) -> None:
    with Client(proxy.address) as client:
        answer = client.ask(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert answer.body == f"{__version__} http://127.0.0.1:1 http://127.0.0.1:2 True".encode()
    proxy.wait_for_log("INFO asked for /x")
    assert "not to be seen" not in proxy.error_log()
