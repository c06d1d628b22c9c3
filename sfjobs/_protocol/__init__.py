"""
The protocol between client and platform as pure functions: no I/O, no HTTP.

    wire                JSON to models and back; the only client file that knows the platform's field names
    fields              readers of single fields of JSON
    salvage             a list whose JSON is invalid in one item
    blackbird_header    name, target and shots in the header of a script, read and edited
    sse                 bytes to server-sent events
    targets             short names of targets
    blackbird_header    name, target and shots in the header of a script, as text
    blackbird_template  binds the free parameters of a script, as text
"""
