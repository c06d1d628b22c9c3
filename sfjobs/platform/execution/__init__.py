"""
Where programs run.

    executor            the interface between the scheduler and an executor: ``Work`` in, ``Outcome`` or an error out
    process_executor    worker processes on this machine
    slots               a place for one worker, which is started again and again until it works
    worker_process      one worker process, as the platform sees it
    environment         the environment variables of child processes
    child               what child processes do first
    replies             the lines between them
    result_space        whether results can be stored
    worker              the program of one worker process, ``python -m sfjobs.platform.execution.worker``

A further executor is a further module that implements ``executor.Executor``.
"""
