"""A filter that tells all it sees, to whoever listens."""

import pyrox.filtering as filtering
import pyrox.http as http


class Chatters(filtering.HttpFilter):
    @filtering.handles_request_head
    def on_request(self, request):
        for number in range(2000):
            print(number, request.url, "and much more that was good to know in the old days")
        return filtering.reply(http.HttpResponse(), "heard")
