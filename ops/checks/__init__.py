"""The checks of `doctor`: each module checks one part, and yields its findings."""
