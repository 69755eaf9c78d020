"""Work that runs outside of requests."""
