import pyrox.filtering as filtering
class FilterTest(filtering.HttpFilter):

    @filtering.handles_request_head
    def on_request_head(self, request_head):
        # Do nothing but consume the http message stage
        return filtering.consume()
