"""
Where the results of jobs are kept.

    interface  ``ResultStore``: what callers may rely on
    folder     ``ResultFolder``: result files in a folder
    npz_file   the format of a result file
"""
