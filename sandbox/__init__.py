"""The whole system on one machine, for development and tests. None of it is deployed."""
