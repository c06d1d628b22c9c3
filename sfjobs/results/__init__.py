"""
What a job measured: from a response body to arrays, to counts, to a file and to a picture. Imports numpy.

    fetching  stream        a result that is asked for: whole, in the way that the caller chooses; or as it comes
    cache  cache_sources    results that were fetched before: the folder (blocking); a body on its way there and from there
    decoding  spooling      a body becomes arrays; or a file, or a temporary one
    sinks                   what takes the bytes, by the format that the first of them show: ``npy``, one room up, or
    npz                     an archive, of ``zip_records``, ``zip_members`` and a ``zip_directory``, with its ``fingerprint``
    memories  mapping       where arrays lie that are not new ones: the caller's, nowhere; a file
    result                  the arrays, and what one asks of them
    files  parts            from and to the disk; a file that appears whole or not at all
    patterns  tables        counting; comma-separated values
    view  figures  picture  for notebooks; drawn by matplotlib
"""

from .download.stream import ResultStream as ResultStream
from .download.to_memory import receive as receive
from .result import Result as Result
from .statistics import Array as Array
