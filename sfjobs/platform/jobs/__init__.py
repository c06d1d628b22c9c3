"""
Jobs between the HTTP interface and the store.

    submission      a submission as it came, with its idempotency key
    validation      checks a submission and makes the job
    preparation     the check of a program by the simulation before its job is accepted
    acceptance      accepts submissions, one or a batch, under quotas and idempotency keys
    fair_share      how much each account has used the slots
    job_queue       which of the waiting jobs runs next
    target_status   which targets run jobs now
    scheduler       runs the jobs
    attempt         one attempt at a job, from its start to the change that ends it
    durable_writes  writes that are repeated while the store cannot be written
    readiness       whether jobs can be accepted and run now
    cleaner         deletes jobs and results
    disk_watch      holds the scheduler while the disk is nearly full
    change_feed     open streams, and the changes they have not sent yet
    representation  jobs as JSON
"""
