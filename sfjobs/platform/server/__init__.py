"""
The platform as a server that listens.

    serving          ``serving`` for tests and scripts, ``run_server`` for the command line
    address          the address it listens at, TLS, and its URL
    shutdown         the two stages of a stop, and signals
    http_protocols/  HTTP/1.1 on a connection, with limits for slow and large requests
"""
