"""Sync's asset API and its storage, played on one machine with no account and no key."""
