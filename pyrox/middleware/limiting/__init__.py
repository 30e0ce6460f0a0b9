"""What ``rate_limit`` and ``in_flight`` are made of.

A *policy* (``policies``) is a quota for a time window, a strategy and a key; the key (``keys``) says whose
requests are counted together. For each request the policies become *demands*, which a *store* grants all
together or not at all (``demands``). There are two stores, both plugged into the ``limits`` library: memory
that the workers share (``memory_store``, on a ``table``) and Redis (``redis_store``); ``guarded_store`` is
what happens when the second is lost. ``counts`` is the other book, of what is in progress now.
"""
