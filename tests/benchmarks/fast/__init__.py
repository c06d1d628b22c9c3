"""
A platform for measuring clients: fast enough never to be what is measured, in a process of its own, and it knows the truth,
that is when each job really ended and what it cost to find out. ``python -m tests.benchmarks.fast`` starts it.
"""
