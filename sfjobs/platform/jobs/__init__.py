"""
Jobs between the HTTP interface and the store.

    submission      a submission as it came, with its idempotency key
    validation      checks a submission and makes the job
    acceptance      accepts submissions, one or a batch, under quotas and idempotency keys
    scheduler       decides which job runs when
    change_feed     open streams, and the changes they have not sent yet
    representation  jobs as JSON
"""
