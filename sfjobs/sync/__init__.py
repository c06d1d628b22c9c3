"""
The blocking API, for scripts, notebooks and threads: the names of the async API, without ``await``.

    with sfjobs.sync.Connection() as connection:
        job = connection.create_job("simulon_gaussian", program, shots=1000)
        result = job.finish()

Every object is a view of an async one, its twin, and runs the twin's methods in the event loop of its connection's thread.

    connection    Connection, Job
    engine        RemoteEngine
    job_group     JobGroup
    waiting       wait_all, as_completed, first, cancel_all
    stream        JobStream, which ``create_jobs`` returns
    events        Events, which ``Connection.events`` returns
    results       ResultStream, which ``open_result`` returns
    _view         the base class of a view, and ``with``
    _iteration    async iterators, one blocking call a step
    _portal       calls from any thread into the event loop, with Ctrl-C and fork
    _calls        the event loop's side of those calls
"""

from .connection import Connection as Connection
from .connection import Job as Job
from .engine import RemoteEngine as RemoteEngine
from .events import Events as Events
from .job_group import JobGroup as JobGroup
from .results import ResultStream as ResultStream
from .stream import JobStream as JobStream
from .waiting import Completions as Completions
from .waiting import as_completed as as_completed
from .waiting import cancel_all as cancel_all
from .waiting import first as first
from .waiting import wait_all as wait_all
