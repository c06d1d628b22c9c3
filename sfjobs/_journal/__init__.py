"""
A write-ahead log of submissions in SQLite: each is written before its request is sent, and again with its outcome. After a crash
``recovery`` settles those that are still open.

    session                  what one connection writes
    journal  groups          queries and updates; those of one group
    rows                     submissions, outcomes and members as values
    writer                   one thread that commits many writes together
    database  schema         the SQLite file; its tables
    location                 the path of the file
    process_lock  processes  which processes are alive
    file_locks               locks on single bytes of a file
"""

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
