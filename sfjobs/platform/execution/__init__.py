"""
Where programs run.

    executor            the interface between the scheduler and an executor: ``Work`` in, ``Outcome`` or an error out
    process_executor    worker processes on this machine
    worker              the program of one worker process, ``python -m sfjobs.platform.execution.worker``

A further executor is a further module that implements ``executor.Executor``.
"""
