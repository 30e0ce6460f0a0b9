"""A filter of 2013, as it was: the first part of the path names the tenant. See ``tenant.py``."""

import pyrox.filtering as filtering
import pyrox.http as http


class TenantFilter(filtering.HttpFilter):
    def __init__(self, prefix="/t/"):
        self.prefix = prefix

    @filtering.handles_request_head
    def on_request(self, request):
        if not request.url.startswith(self.prefix):
            response = http.HttpResponse()
            response.status = "404 Not Found"
            return filtering.reject(response)

        tenant, _, rest = request.url[len(self.prefix) :].partition("/")
        request.local_data["tenant"] = tenant
        request.url = "/" + rest
        request.replace_header("X-Tenant").values.append(tenant)

    @filtering.handles_response_head
    def on_response(self, response, request):
        response.header("X-Tenant").values.append(request.local_data["tenant"])

    @filtering.handles_response_body
    def on_response_body(self, part, output):
        output.write(part.replace(b"\r", b""))
