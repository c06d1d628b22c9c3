"""
The protocol between client and platform as pure functions: no I/O, no HTTP.

    wire                JSON to models and back; the only client file that knows the platform's field names
    blackbird_header    name, target and shots in the header of a script, read and edited
    sse                 bytes to server-sent events
"""
