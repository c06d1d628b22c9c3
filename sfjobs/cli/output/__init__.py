"""
What commands print.

    json          documents of ``--json``, and texts of the platform
    tables        tables and lists of fields in the width of the terminal
    live_table    the table of ``list --watch``
    summary       a result as numbers
    charts        a summary as a table and a bar chart
    results       the options of ``run`` and ``result`` about a result, and its files
"""
