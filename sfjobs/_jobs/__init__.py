"""
Jobs that exist: their handles, and waiting, cancelling and following. Names, from the top:

    waiting           wait_all, as_completed, first, cancel_all
    events            connection.events
    iteration         what as_completed and events have in common
    result_prefetch   results of many jobs, a few at a time
    job               the handle
    portable          a job as a dictionary of plain values
    cancellation      of one job, of many
    deletion          of one job
    deadline          the last poll of a wait whose timeout has passed
    job_errors        errors about jobs
    job_state         what is known of one job, and why it is not done yet; polls and retries
    session           the endpoints, poller, journal and downloads of one connection
    html              a job in a notebook
"""
