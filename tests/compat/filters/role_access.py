"""
Role based access. The rules are a JSON file: route regex -> roles by method.

{
    "^/admin": {"*": ["admin"]},
    "^/reports/\\d+$": {"GET": ["reader", "admin"], "DELETE": ["admin"]}
}
"""
import json
import re

from pyrox.filtering import HttpFilter, handles_request_head, next, reject
from pyrox.http.model import HttpResponse
from pyrox.log import get_logger

_LOG = get_logger(__name__)
_FORBIDDEN = HttpResponse()
_FORBIDDEN.status = '403 Forbidden'
_FORBIDDEN.header('X-Reason').values.append('role')


class RoleAccess(HttpFilter):

    def __init__(self, rules):
        with open(rules) as rule_file:
            loaded = json.load(rule_file)
        self.rules = [(re.compile(route), methods) for route, methods in loaded.items()]

    @handles_request_head
    def check(self, request):
        path = request.url.split('?')[0]
        for route, methods in self.rules:
            if route.match(path):
                allowed = methods.get(request.method, methods.get('*', []))
                roles = self._roles_of(request)
                if not roles.intersection(allowed):
                    _LOG.warning('%s %s is not for %s', request.method, path, sorted(roles))
                    return reject(_FORBIDDEN)
        return next()

    def _roles_of(self, request):
        header = request.get_header('x-roles')
        if header is None:
            return set()
        return set(role.strip() for value in header.values for role in value.split(','))
