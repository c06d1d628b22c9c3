"""
Commands that wait.

    progress    the progress line of one job or of many, on a terminal and in a log
    notices     a line for each wait that the platform asks for
    session     what ``run`` and ``wait`` do while they wait and after Ctrl-C
"""
