"""Stands behind another filter and leaves a mark on what comes past it."""
import pyrox.filtering as filtering


class Witness(filtering.HttpFilter):

    @filtering.handles_request_head
    def on_request_head(self, request_head):
        transaction = request_head.local_data.get('transaction_id', 'none')
        request_head.header('X-Transaction').values.append(transaction)

    @filtering.handles_response_head
    def on_response_head(self, response_head):
        transaction = response_head.local_data.get('transaction_id', 'none')
        response_head.header('X-Transaction').values.append(transaction)
