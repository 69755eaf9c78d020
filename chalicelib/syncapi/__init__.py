"""Sync's API: the only package that sends it requests and reads its responses."""
