import pyrox.filtering as filtering


class Filter3(filtering.HttpFilter):
    def __init__(self):
        self.request_heads = 0

    @filtering.handles_request_head
    def on_request_head(self, request_head):
        self.request_heads += 1

    @filtering.handles_response_head
    def on_response_head(self, response_head):
        passed = 'filter_3, which saw {} request heads'.format(self.request_heads)
        response_head.header('X-Passed').values.append(passed)
