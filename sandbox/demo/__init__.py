"""The sandbox's demo page, and the backend that gives it tokens."""
