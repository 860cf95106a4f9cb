"""The contract's generated code. ``make proto`` makes it from ``proto/``; nobody edits it."""
