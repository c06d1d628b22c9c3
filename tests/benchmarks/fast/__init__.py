"""
A platform for measuring clients, in its own process and fast enough not to limit them. It records when each job ended and the
requests and bytes that a client used. ``python -m tests.benchmarks.fast`` starts it.
"""
