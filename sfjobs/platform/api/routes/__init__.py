"""
The endpoints, one module for each group of paths.

    account    the token endpoint and the ping
    changes    the change feed
    devices    devices, their specifications and certificates
    health     whether the platform is alive and ready, for supervisors
    jobs       submissions, lists, results and cancellations
"""
