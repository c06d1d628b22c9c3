"""
Where the platform keeps jobs, accounts and API keys.

    interface   ``AccountStore`` and ``JobStore``: what callers may rely on
    api_keys    names and hashes of API keys; the same for every store
    sqlite/     the store in one SQLite file
"""
