"""
Requests to the platform, from typed endpoints down to sockets.

    api                 the endpoints as coroutines that return models
    transport           one request: token, slot, permit, timeout, retries
    auth                the access token
    retry               whether and when a failed request is retried (pure)
    rate_limiter        waiting for the rate limit after a 429
    rate_model          the rate that the platform accepts (pure)
    download            a body in pieces that resumes after a broken connection
    adapter             our requests as those of httpx, and which transport sends them
    httpx_clients       httpx's own client; name_lookup: so that a hanging resolver does not hang it
    patches             whether a test or an instrumentation has patched httpx
    streaming           a response whose body is read piece by piece
    failures            failures of httpx as our errors
    content_coding      compressed bodies, decoded in bounded pieces
    redirects  links    where a redirect may lead, and a link (pure)
    trust               certificate authorities
    http11  tcp_stream  HTTP/1.1 over our own connections; their sockets
    messages            Request and Response, and the errors that responses mean (pure)
    odd_fields          warnings of fields that cannot be read
    masking             secrets in what errors and logs quote (pure)
    clock               the platform's clock
    tracing  proxies    spans for OpenTelemetry; proxies of the environment
"""
