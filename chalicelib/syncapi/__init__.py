"""Sync's API: no other package sends it requests or reads its responses."""
