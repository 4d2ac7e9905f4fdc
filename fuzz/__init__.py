"""What outsiders can send, fuzzed: ``python -m fuzz [NAME...]``."""
