"""What every test that opens a socket stands on.

``wire`` reads and writes raw HTTP bytes on one socket, with deadlines; ``origin`` is an upstream whose
every byte the test writes; ``proxy`` runs the real proxy in processes of its own.
"""
