"""
The client that callers make. Names, from the top:

    engine               RemoteEngine: one target
    job_group            JobGroup: jobs under a name
    job_group_sender     its programs that are not sent yet
    job_group_members    its programs in the journal, its jobs
    job_group_progress   counts of them
    job_group_errors     what its wait raises
    connection           Connection; ``internals`` gives the rest of sfjobs its session
"""
