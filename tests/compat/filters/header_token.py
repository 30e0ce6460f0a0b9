"""
Lets requests through that carry a known token.

[pipeline]
auth = header_token.new_filter
auth.tokens = s3cret:acme, letmein:initech
auth.header = X-Auth-Token
"""
import pyrox.filtering as filtering
import pyrox.http as http


def new_filter(tokens, header='X-Auth-Token', realm='API', strip='yes'):
    tenants = {}
    for pair in tokens.split(','):
        token, tenant = pair.strip().split(':')
        tenants[token] = tenant
    return HeaderTokenValidator(tenants, header, realm, strip == 'yes')


class HeaderTokenValidator(filtering.HttpFilter):

    def __init__(self, tenants, header, realm, strip):
        self.tenants = tenants
        self.header = header
        self.strip = strip
        self.unauthorized = http.HttpResponse()
        self.unauthorized.version = b'1.1'
        self.unauthorized.status = '401 Unauthorized'
        self.unauthorized.header('WWW-Authenticate').values.append('Token realm="%s"' % realm)
        self.unauthorized.header('Content-Length').values.append('0')

    @filtering.handles_request_head
    def on_request_head(self, request):
        token = request.get_header(self.header)
        if not token or token.values[0] not in self.tenants:
            return filtering.reject(self.unauthorized)
        tenant = request.replace_header('X-Tenant')
        tenant.values.append(self.tenants[token.values[0]])
        if self.strip:
            request.remove_header(self.header)
        return filtering.next()
