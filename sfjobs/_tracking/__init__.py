"""
How waiters learn of the statuses of jobs: one poller for a connection, or the platform's change feed.

    poller            join, wait for, leave: what handles and groups of jobs call
    leadership        which waiter polls for all, and who takes over
    sweep             polls what is due; responses and failures
    queries           the polls themselves: a list of jobs, a single job
    change_feed       the stream of events: opened, read, lost, opened again
    feed_listener     reads the feed for the leader; ``recent_changes`` keeps its last events
    watchlist         tracked jobs and their waiters; ``schedule`` is a heap of them by due time
    outages           backoff, Retry-After and the log of an outage; retries of other requests
    types             the values and interfaces of all these
"""
