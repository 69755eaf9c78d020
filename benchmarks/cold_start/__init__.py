"""The cold-start benchmark, and the apps that it measures."""
