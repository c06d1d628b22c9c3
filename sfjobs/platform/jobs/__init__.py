"""
Jobs between the HTTP interface and the store.

    submission      a submission as it came, with its idempotency key
    validation      checks the fields of a submission and makes the job
    program_check   the check of a program: text, device, limits
    preparation     its check by the simulation
    check_pool      where programs are checked: a thread for cheap ones, processes for dear ones
    check_process   such a process
    fair_turns      turns that are fair to all accounts
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
