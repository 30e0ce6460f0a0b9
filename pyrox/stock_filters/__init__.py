"""Filters that come with Pyrox: ``empty.EmptyFilter`` and ``httpd.WebServer``.

They are written as filters of Pyrox 0.4 and 0.5 are, on ``pyrox.filtering`` and ``pyrox.http`` alone, and
named in ``[pipeline]`` like any other.
"""
