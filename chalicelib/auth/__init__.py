"""Who sent a request: bearer tokens, the keys that verify them, callers."""
