"""What the state machine did, for the end of the report."""

from collections import Counter

COUNTS: Counter[str] = Counter()
