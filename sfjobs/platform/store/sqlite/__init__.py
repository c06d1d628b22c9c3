"""
The store in one SQLite file.

    jobs         ``SQLiteStore``: jobs and their changes
    pauses       paused targets
    accounts     ``SQLiteAccounts``: accounts and API keys; opened alone by ``sfjobs platform keys``
    retention    ``SQLiteRetention``: what of the jobs is deleted
    deletion     the statements that delete
    change_numbers   the numbers of changes
    idempotency  rows of idempotency keys
    database     connections, reads, and group commits
    schema       the tables, as numbered steps
    migration    new and earlier files, and their backups
"""
