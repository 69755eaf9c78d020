"""Quotas: the limits of each caller, and their usage."""
