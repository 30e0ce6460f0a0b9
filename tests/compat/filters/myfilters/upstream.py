import pyrox.filtering as filtering
from pyrox.log import get_logger

_LOG = get_logger(__name__)


class Filter1(filtering.HttpFilter):
    @filtering.handles_request_head
    def on_request_head(self, request_head):
        request_head.header('X-Passed').values.append('filter_1')


class Filter2(filtering.HttpFilter):
    @filtering.handles_request_head
    def on_request_head(self, request_head):
        _LOG.debug('filter_2 sees %s', request_head.url)
        request_head.header('X-Passed').values.append('filter_2')
        if request_head.url == '/rejected':
            return filtering.reject()
