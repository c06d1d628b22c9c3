"""
The platform as a server that listens.

    serving          ``serving`` for tests and scripts, ``run_server`` for the command line
    address          the address it listens at, TLS, and its URL
    connections      how many connections there may be
    tls              handshakes with a deadline, and certificates that are read again
    shutdown         the two stages of a stop, and signals
    http_protocols/  HTTP/1.1 on a connection, with limits for slow and large requests
"""
