"""Counters of the state machine, for pytest's summary."""

from collections import Counter

COUNTS: Counter[str] = Counter()
