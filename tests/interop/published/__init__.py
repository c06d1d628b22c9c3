"""
Programs of the kinds that are published, written anew, with their exact answers. ``test_published_programs`` submits all of them
to one platform and compares the samples.

    rows.py             what a row of the table is, and the list of all rows
    exact.py            the exact state and its distributions, by the Gaussian backend of Strawberry Fields and by thewalrus
    comparison.py       samples against a state: chi-square, Kolmogorov-Smirnov, moments
    streams.py          the exact state of a time-domain program
    scripts.py, ...     the rows, by subject
"""
