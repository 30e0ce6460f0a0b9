"""What filters written for Python 2 do with bodies; /name is name_."""
import pyrox.filtering as filtering


class BodyHabits(filtering.HttpFilter):
    def __init__(self):
        self.name = None
        self.count = 0

    @filtering.handles_request_head
    def on_request_head(self, request_head):
        self.name = request_head.url[1:].replace('-', '_')

    @filtering.handles_request_body
    @filtering.handles_response_body
    def on_body(self, msg_part, output):
        return getattr(self, self.name, self.untouched)(msg_part, output)

    def untouched(self, msg_part, output):
        print('{} bytes'.format(len(msg_part)))

    def types(self, msg_part, output):
        if msg_part:
            output.write('str ')
            output.write(b'bytes ')
            output.write(bytearray(b'bytearray '))
            output.write(memoryview(msg_part))

    def dropped(self, msg_part, output):
        output.write(b'')

    def wrapped(self, msg_part, output):
        if self.count == 0:
            output.write('<')
        self.count += 1
        output.write(msg_part)
        if not msg_part:
            output.write('>')
            self.count = 0

    def in_place(self, msg_part, output):
        part = bytearray(msg_part)
        part.reverse()
        output.write(part)
        del part[:]
