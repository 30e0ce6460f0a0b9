import pyrox.filtering as filtering
class FilterTest(filtering.HttpFilter):

    @filtering.handles_request_head
    def on_request_head(self, request_head):
        # Do nothing but pass the stage to the next filter in the
        # filter pipeline
        return filtering.next()

    @filtering.handles_response_head
    def on_response_head(self, response_head):
        # No return also defaults to passing the message stage to the
        # next filter in the pipeline
        pass
