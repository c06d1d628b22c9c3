"""
The progress of many jobs on one live line: counts by status, the rate at which jobs end, and the time left.

    live              shows progress beside a wait
    tally             counts jobs by status
    eta               estimates the rate and the time left
    text              progress as one line, and how often a log gets one
    displays          where the line is written: terminal, log or notebook
"""

from .displays import Display as Display
from .displays import fitting_display as fitting_display
from .live import show as show
from .live import shown as shown
from .tally import Progress as Progress
from .tally import Tally as Tally
