"""
The formats of a result: bytes to arrays and back, without network.

    decoder        which format a body has, and the decoder for it
    npy            one array
    npz            an archive of arrays: zip_members, zip_records, zip_directory
    buffers        memory other than that of new arrays: the caller's array, or none
    digest         the SHA-256 of a body, in steps
    memory_map     the arrays of a file as views of it
"""
