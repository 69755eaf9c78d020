"""Errors, settings, the log and other parts that every package uses."""
