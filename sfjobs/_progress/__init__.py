"""
How far many jobs are, on one live line: counts by status, how fast they end, and about how long it will still take.

``tally`` counts and ``pace`` estimates, both pure; ``words`` puts it into a line; ``displays`` writes it to a terminal, a log
or a notebook; ``showing`` keeps one of them up to date beside a wait. ``wait_all`` and ``sfjobs wait`` use it.
"""

from .displays import Display as Display
from .displays import fitting_display as fitting_display
from .live import show as show
from .live import shown as shown
from .tally import Progress as Progress
from .tally import Tally as Tally
