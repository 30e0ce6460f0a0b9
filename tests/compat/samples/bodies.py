import pyrox.filtering as filtering
class FilterTest(filtering.HttpFilter):

    @filtering.handles_request_body
    def on_request_body(self, msg_part, output):
        print('Got request content chunk: {}'.format(msg_part))
        output.write(msg_part)

    @filtering.handles_response_body
    def on_response_body(self, msg_part, output):
        print('Got response content chunk: {}'.format(msg_part))
        output.write(msg_part)
