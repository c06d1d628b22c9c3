"""What a job measured: from a response body to arrays, to counts, to a file and to a picture. Imports numpy."""

from .decoding import receive as receive
from .result import Array as Array
from .result import Result as Result
from .stream import ResultStream as ResultStream
