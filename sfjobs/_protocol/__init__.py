"""
The protocol between client and platform as pure functions: no I/O, no HTTP.

    wire                JSON to models and back; the only client file that knows the platform's field names
    sse                 bytes to server-sent events
"""
