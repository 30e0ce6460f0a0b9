import pyrox.filtering as filtering
class FilterTest(filtering.HttpFilter):

    @filtering.handles_request_head
    @filtering.handles_response_head
    def on_head(self, msg_head):
        print('Got msg head: {}'.format(msg_head))

    @filtering.handles_request_body
    @filtering.handles_response_body
    def on_body(self, msg_part, output):
        print('Got message content part: {}'.format(msg_part))
        output.write(msg_part)
