"""
The HTTP interface of the platform as one ASGI application.

    app            routes, limits and authentication of every request
    routes/        the endpoints: account, devices, jobs, changes
    tokens         access tokens, for which API keys are exchanged
    budgets        what requests may hold at the same time
    request_body   a body with a limit of size and time
    responses      JSON and error responses; JSON of requests
    extensions     the extensions that responses offer by name
    file_response  bytes of a file, whole or a range
    byte_ranges    conditional and range headers
    abort          the end of a connection during its request
    openapi/       the document at ``/openapi.json``
"""
