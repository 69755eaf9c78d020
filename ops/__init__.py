"""The operator's commands. They are never deployed."""
