"""The rules: what a transaction and an instruction mean, as pure functions of state, message and time.

Nothing here reads a clock, a file, a socket or a database; the writer, the auditor's replay and the tests run the very
same code. This is version 1 of the rules. A change of meaning becomes a new version beside it, so that old months still
replay to the letter.
"""
