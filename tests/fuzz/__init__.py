"""Coverage-guided search for bytes that break the promises of ``pyrox.http``.

``targets`` says what must hold, ``seeds`` where to start, ``fuzz_http`` is the entry for atheris, and
``test_seeds`` runs the targets over the seeds with the other tests.
"""
