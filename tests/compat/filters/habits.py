"""What filters written for Python 2 do, one habit for each request target: /name is request_name."""
from __future__ import print_function, unicode_literals

import sys

from pyrox.filtering.pipeline import *
from pyrox.http.model import HttpHeader, HttpResponse

SHARED = HttpResponse(b'1.1')
SHARED.status = b'403 Forbidden'
SHARED.header(b'X-Shared').values.append(b'yes')

SERVED_BY = HttpHeader('X-Served-By')
SERVED_BY.values.append('us')


class Habits:  # neither HttpFilter nor object
    def __init__(self, greeting='hello'):
        self.greeting = greeting  # and no super().__init__()

    @handles_request_head
    def on_request_head(self, request):
        name = 'request_' + request.url[1:].split('?')[0].replace('-', '_')
        if hasattr(self, name):
            return getattr(self, name)(request)

    @handles_response_head
    def on_response_head(self, response, request):
        name = 'response_' + request.url[1:].split('?')[0].replace('-', '_')
        if hasattr(self, name):
            return getattr(self, name)(response, request)

    # --- versions, methods, targets ---

    def request_version(self, request):
        assert request.version == '1.1'
        request.version = b'1.1'

    def response_version(self, response, request):
        assert response.version == '1.1'
        response.version = bytearray(b'1.1')

    def request_old_version(self, request):
        request.version = b'1.0'

    def request_line(self, request):
        request.method = b'PUT'
        request.url = bytearray(b'/moved?x=1')

    # --- headers ---

    def request_mixed(self, request):
        header = request.header('X-Mixed')
        header.values.append('str')
        header.values.append(b'bytes')
        header.values.append(bytearray(b'bytearray'))

    def response_mixed(self, response, request):
        response.header(b'X-Mixed').values.extend([b'bytes', 'str'])
        response.header('x-mixed').values.insert(0, bytearray(b'bytearray'))

    def request_names(self, request):
        assert request.get_header(b'HOST').values == ['a.test']
        assert request.get_header(b'nothing') is None
        assert request.remove_header(bytearray(b'x-DROP')) is True
        assert request.remove_header(b'X-Drop') is False
        request.replace_header(b'X-Old').values.append(b'new')
        header = request.header(b'X-New')
        assert request.header('x-new') is header
        header.values = ('one', b'two')

    def request_loop(self, request):
        names = []
        for name, header in request.headers.items():
            assert name == header.name.lower()
            names.append(name)
            header.values = [value.upper() for value in header.values]
        request.header('X-Names').values.append(' '.join(sorted(names)))

    def request_dict(self, request):
        assert 'x-a' in request.headers and 'X-A' not in request.headers
        assert request.headers.get('x-nothing') is None
        del request.headers['x-a']
        request.headers['x-b'].values[0] = b'changed'
        added = HttpHeader(b'X-Added')
        added.values.append(b'added')
        request.headers['x-added'] = added

    def request_borrowed(self, request):
        request.header('X-Id').values.append(b'7')

    def response_borrowed(self, response, request):
        response.headers['x-id'] = request.get_header('x-id')
        response.headers['x-served-by'] = SERVED_BY

    def response_borrowed_all(self, response, request):
        response.headers = request.headers

    def response_fewer(self, response, request):
        response.headers = dict((name, header) for name, header in response.headers.items() if name != 'via')

    def request_emptied(self, request):
        del request.header('x-a').values[:]
        request.header('x-b')  # only looked at, and so made

    def request_length(self, request):
        length = request.header('content-length').values
        coding = request.header('transfer-encoding').values
        print('length {} coding {}'.format(length, coding))

    def response_length(self, response, request):
        print('length {}'.format(response.header('content-length').values))

    def request_wrong_length(self, request):
        request.header('Content-Length').values = [b'1']
        request.header('Transfer-Encoding').values.append('chunked')
        request.header('Connection').values.append('close, X-A')

    def response_wrong_length(self, response, request):
        response.replace_header('Content-Length').values.append('1')
        response.header('Connection').values.append('close')

    def response_cookies(self, response, request):
        cookies = response.get_header('set-cookie')
        cookies.values.append('c=3; Expires=Wed, 21 Oct 2015 07:28:00 GMT')
        print('{} cookies'.format(len(cookies.values)))

    def request_cookies(self, request):
        request.header('X-Seen').values.extend(request.header('X-Several').values)

    # --- attributes of their own ---

    def request_own(self, request):
        request.started = 12345
        request.local_data['greeting'] = self.greeting

    def response_own(self, response, request):
        response.greeted = True
        values = [request.started, response.local_data['greeting'], response.greeted]
        response.header('X-Own').values.append(str(values))

    # --- print ---

    def request_print(self, request):
        print('printed', request.method, request.url)
        print('without a newline; ', end='')
        sys.stdout.write('written ')
        print('\u20ac')
        print(request.to_bytes().decode('latin-1').splitlines()[0])

    def response_print(self, response, request):
        print(response.to_bytes().decode('latin-1').splitlines()[0], file=sys.stderr)

    # --- answers ---

    def request_shared(self, request):
        return reject(SHARED)

    def request_no_length(self, request):
        response = HttpResponse()
        response.status = '200 OK'
        return reply(response, iter(['no ', b'length']))

    def request_no_body(self, request):
        response = HttpResponse()
        response.status = '200'
        return FilterAction(REPLY, (response, None))

    def request_wrong_answer_length(self, request):
        response = HttpResponse()
        response.header('Content-Length').values.append('1000')
        response.header('Transfer-Encoding').values.append(b'chunked')
        return reply(response, 'short')

    def request_default(self, request):
        return reject()

    def request_action(self, request):
        return FilterAction(kind=REJECT, payload=SHARED)

    def response_replaced(self, response, request):
        return reject(SHARED)

    # --- statuses: /status?... says which ---

    def response_status(self, response, request):
        response.status = {
            'code': '404',
            'bytes': b'404 Not Found',
            'number': 404,
            'phrase': '404 Nowhere To Be Found',
            'bytearray': bytearray(b'404'),
            'unknown': '599',
        }[request.url.split('?')[1]]

    def request_status_of_answer(self, request):
        response = HttpResponse()
        response.status = b'404'
        return reply(response, b'none')

    # --- injections: /inject?... says which ---

    def request_inject(self, request):
        evil = {'cr': '\r', 'lf': '\n', 'crlf': '\r\n', 'nul': '\0', 'bytes': b'\r\n'.decode('ascii')}
        what = request.url.split('?')[1]
        value = 'a' + evil[what] + 'X-Admin: yes'
        request.header('X-User').values.append(value.encode('ascii') if what == 'bytes' else value)

    def request_inject_name(self, request):
        request.header('X-User: x\r\nX-Admin').values.append('yes')

    def request_inject_line(self, request):
        request.url = '/a HTTP/1.1\r\nX-Admin: yes\r\n\r\n'

    def request_inject_method(self, request):
        request.method = 'GET /admin HTTP/1.1\r\nX: '

    def request_inject_answer(self, request):
        response = HttpResponse()
        response.header('Location').values.append('/\r\nSet-Cookie: session=mine')
        return reject(response)

    def response_inject_response(self, response, request):
        response.header('X-User').values.append('a\r\nSet-Cookie: session=mine')

    def response_inject_phrase(self, response, request):
        response.status = '200 OK\r\nSet-Cookie: session=mine'

    def request_no_text(self, request):
        request.header('X-Number').values.append(5)
