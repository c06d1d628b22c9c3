"""
Those who are measured, each a program that ``arena`` starts anew for every round, so that nobody inherits another's caches.
``contest`` is what they share.
"""
