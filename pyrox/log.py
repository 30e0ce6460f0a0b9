"""Where filters written for Pyrox 0.4 and 0.5 get their loggers from.

They are the loggers of ``logging``: the error log listens at the root of all of them, so whatever a logger
is called, its records of at least ``[logging] verbosity`` are written there.
"""

from logging import getLogger

get_logger = getLogger

__all__ = ["getLogger", "get_logger"]
