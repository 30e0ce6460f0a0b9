"""
Replaces a text in the bodies of both directions, also where it is cut by the network.
"""
import pyrox.filtering as filtering


class _Replacer(object):

    def __init__(self, old, new):
        self.old = old.encode('ascii')
        self.new = new.encode('ascii')
        self.rest = b''

    def replace(self, part, output):
        data = (self.rest + part).replace(self.old, self.new)
        if not part:  # the end
            output.write(data)
            return
        # The last bytes may be the beginning of the text.
        keep = 0
        for length in range(1, len(self.old)):
            if data.endswith(self.old[:length]):
                keep = length
        self.rest = data[len(data) - keep:]
        output.write(data[:len(data) - keep])


class BodyRewriter(filtering.HttpFilter):

    def __init__(self, public, internal):
        self.to_internal = _Replacer(public, internal)
        self.to_public = _Replacer(internal, public)

    @filtering.handles_request_body
    def on_request_body(self, part, output):
        self.to_internal.replace(part, output)

    @filtering.handles_response_body
    def on_response_body(self, part, output):
        self.to_public.replace(part, output)
