"""
The blocking twin of the API, for scripts, notebooks and threads: the same names, without ``await``. Every method calls its
async twin over the connection's bridge and holds no logic of its own.

    with sfjobs.sync.Connection() as connection:
        job = connection.create_job("simulon_gaussian", program, shots=1000)
        result = job.finish()
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
