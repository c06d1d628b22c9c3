"""
The commands: one file each, or one for a group of them. A function's signature is the command line, its docstring the help.

    run  submit                         programs become jobs
    list_  show  wait  result  circuit  cancel  delete    jobs
    group  recover                      the journal: groups of jobs, and submissions without a response
    devices                             `devices` and `device`
    serve  platform                     a platform on this machine, and its API keys
    login  ping  config  cache          credentials, settings and cached results
"""
