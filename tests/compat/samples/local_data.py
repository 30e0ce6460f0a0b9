import uuid
import pyrox.filtering as filtering

class FilterTest(filtering.HttpFilter):

    @filtering.handles_request_head
    def on_request_head(self, request_head):
        request_head.local_data['transaction_id'] = str(uuid.uuid4())
        return filtering.next()
