"""Month end: from a closed window's flows of points to obligations, positions, payments, statements and their files.

Pure computing, and files of what was computed. ``settlement.v1.month_end.settle`` is where to begin reading.
"""
