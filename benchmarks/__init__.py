"""The bench: how fast the clearing house is on this machine, next to how fast the machine is.

``run`` is the command. The gateway, PostgreSQL and the load clients are processes of their own; this process only
directs them, so that its work is in no figure.
"""
