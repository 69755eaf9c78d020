"""Authentication: bearer tokens, the keys that verify them, callers."""
