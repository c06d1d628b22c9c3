"""
What was about to be submitted, and what became of it: on disk before the request leaves, so that nobody has to guess after a
crash. ``submitting`` writes it, ``recovery`` settles what was left open, ``group`` is a view of it.
"""

from .groups import Addition as Addition
from .groups import GroupSummary as GroupSummary
from .groups import GroupTable as GroupTable
from .groups import names_of_others as names_of_others
from .groups import summaries as summaries
from .journal import Journal as Journal
from .location import JournalLocation as JournalLocation
from .rows import GroupMember as GroupMember
from .rows import Intent as Intent
from .rows import JournalEntry as JournalEntry
from .rows import OtherAccount as OtherAccount
from .rows import State as State
from .rows import SubmissionOutcome as SubmissionOutcome
from .session import JournalSession as JournalSession
from .session import fate_after as fate_after
