import pyrox.http as http
import pyrox.filtering as filtering

class FilterTest(filtering.HttpFilter):

    @filtering.handles_request_head
    def on_request_head(self, request_head):
        # Reject the request if it is not a GET request
        if request_head.method != 'GET':
            # Create a response object — this should be a static
            # instanace set elsewhere for performance reasons
            response = http.HttpResponse()
            response.version = '1.1'
            response.status = '405 Method Not Allowed'

            return filtering.reject(response)
