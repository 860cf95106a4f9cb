"""The core of the clearing house: its model, rules, ledger, log and store."""
