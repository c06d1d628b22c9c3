"""
The measured clients. Each is a program that ``arena`` starts again for every round, so that no round inherits caches of another.
``contest`` is their common code.
"""
