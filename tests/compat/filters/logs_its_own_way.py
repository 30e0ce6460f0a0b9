"""A module that configures logging for itself, and so for everybody."""

import logging
import logging.config
import os

import pyrox.filtering as filtering

_HANDLERS = {"own": {"class": "logging.FileHandler", "filename": os.environ["OWN_LOG"]}}
_OWN = {"own": {"handlers": ["own"], "level": "DEBUG"}}

logging.config.dictConfig(
    {
        "version": 1,
        "handlers": _HANDLERS,
        "loggers": _OWN,
        **({"root": {}} if "AND_ROOT" in os.environ else {}),
    }
)


class Fails(filtering.HttpFilter):
    @filtering.handles_request_head
    def on_request(self, request):
        logging.getLogger("own").debug("on its own: %s", request.url)
        raise KeyError("what failed")
