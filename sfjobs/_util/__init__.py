"""
Helpers that know nothing of sfjobs.

    aio          task groups without exception groups; a base for what ``async with`` closes
    atomic_file  files that appear complete or not at all
    html         cards and bars for notebooks
"""
