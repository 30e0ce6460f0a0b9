"""Routing: which of the configured routes a request takes, and what that route does with it.

A route is a rule and what follows from it. The rule is text, ``Host(`a.test`) && PathPrefix(`/v1`)``:
``rule`` reads it into a tree, ``functions`` says what each function takes, ``predicates`` makes a plain
Python closure of the tree. ``table`` holds all routes: a hash on the host and a trie on the path's
segments find the few whose closures are worth calling, so that ten thousand routes cost as little as ten.
``paths`` says what a path is, which is where proxies are outwitted: in each of the ways in which a
server may read it, it must choose the same route. ``actions`` is what a route does then, as an app.
"""
