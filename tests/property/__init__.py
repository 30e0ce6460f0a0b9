"""Properties that hold for every input, searched by hypothesis.

``readers`` reads one message with Pyrox, with llhttp and with h11; ``messages`` makes the bytes, valid
ones and ones that are wrong in the places where parsers differ; ``disagreements`` is the table of what
Pyrox refuses although another parser takes it.

``conftest`` keeps the search short and the same each time; look further with
``pytest tests/property --hypothesis-profile=explore``.
"""
