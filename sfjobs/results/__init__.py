"""
The result of a job: from a response body to arrays, counts, statistics, files and pictures. Imports numpy.

    result        the arrays of one job, and the methods of the public ``Result``
    statistics    photon numbers and threshold clicks: functions of arrays
    counts        how often each pattern was measured
    time_bins     crop and move_vac_modes of time-domain programs
    plotting      figures (imports matplotlib)
    html          the display in a notebook
    csv           tables of text
    storage       results in files (blocking)
    formats/      bytes to arrays, without I/O
    download/     a response body to memory, a file, a memory map or the cache
"""

from .download.stream import ResultStream as ResultStream
from .download.to_memory import receive as receive
from .formats.npy import Array as Array
from .result import Result as Result
from .time_bins import move_vac_modes as move_vac_modes
