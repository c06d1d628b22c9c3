"""
The soak: many clients, many jobs, a bad line, and in the end every job accounted for and nothing grown.

``python -m tests.soak`` starts a platform (``server``), a line with faults in front of it (``chaos``) and a few processes of
clients (``clients``), each by itself, takes samples of all of them (``census``) and says what came of it (``verdict``).
"""
