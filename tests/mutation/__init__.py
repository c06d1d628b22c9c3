"""
Mutation testing: does a test fail when a line of a module is changed? ``nox -s mutation -- sfjobs/_tracking/poller.py``.

    mutants    the changes, made by mutmut's operators
    measure    which tests reach which lines, and how long they take
    plan       which files of tests are about a module
    forks      runs of pytest that begin with everything imported
"""
