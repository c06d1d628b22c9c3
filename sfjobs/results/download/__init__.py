"""
From a response body to arrays in memory, a file or a memory map.

    fetcher       the result of a job, over the network or from the cache
    stream        the public ResultStream: a body while it arrives
    to_memory     a body becomes arrays
    to_file       a body becomes a file, or a temporary one to map
    cache         the folder of cached results (blocking)
    cached_body   a body that is written to the cache, or read from it
"""
