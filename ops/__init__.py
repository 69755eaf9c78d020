"""For operators: never deployed."""
