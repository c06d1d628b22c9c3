"""
Commands that wait.

    progress    the progress line of one job or of many, on a terminal and in a log
    session     what ``run`` and ``wait`` do while they wait and after Ctrl-C
"""
