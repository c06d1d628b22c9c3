"""
The soak test: many clients, many jobs and a faulty network. At the end every job is accounted for, and nothing has grown.

``python -m tests.soak`` starts processes for a platform (``server``), a proxy with faults in front of it (``chaos``) and clients
(``clients``), samples all of them (``census``) and checks the outcome (``verdict``).
"""
