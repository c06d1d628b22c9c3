"""
Helpers that know nothing of sfjobs.

    aio               task groups without exception groups; a base for what ``async with`` closes
    atomic_file       files that appear complete or not at all
    handles           copies and pickles of what belongs to one process
    html              cards and bars for notebooks
    kernel_interrupts stops a cell of a notebook that awaits
    pydantic_schemas  what pydantic and FastAPI do with types of ours
"""
