"""
From a program to a job: one program, a stream of many, and submissions that a crash left without a reply.

    types                    Submission, Refusal, and the end of a source
    stream                   JobStream, which ``create_jobs`` returns
    pipeline                 order, window and steps of a stream
    window                   how many jobs may be unfinished at a time
    sender                   which programs share a request; retries of single programs
    submitter                requests, replies, and their journal entries
    capabilities             batches and idempotency keys: what the platform offers
    session                  the parts of a connection that submissions share
    programs                 any program that a caller has becomes Blackbird text
    strawberryfields         compiles a ``strawberryfields.Program``
    free_parameters          numbers for the free parameters of a program, before it is compiled
    inverses                 gates in the place of inverses, before a program is compiled
    blackbird_writer         writes a ``strawberryfields.Program`` as Blackbird
    recovery                 settles the open submissions of the journal
    candidates               the jobs that one of them may have become
    key_rotation             adopts journal entries of an API key that was replaced
"""
