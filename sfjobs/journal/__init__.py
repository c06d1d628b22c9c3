"""
What was about to be submitted, and what became of it: on disk before the request leaves, so that nobody has to guess after a
crash. ``submitting`` writes it, ``recovery`` settles what was left open, ``group`` is a view of it.
"""

from .entries import Entry as Entry
from .entries import Fate as Fate
from .entries import GroupMember as GroupMember
from .entries import Intent as Intent
from .entries import OtherAccount as OtherAccount
from .entries import State as State
from .journal import Journal as Journal
from .place import Place as Place
from .record import Record as Record
from .record import fate_after as fate_after
from .roll import Addition as Addition
from .roll import GroupSummary as GroupSummary
from .roll import Roll as Roll
from .roll import names_of_others as names_of_others
from .roll import summaries as summaries
