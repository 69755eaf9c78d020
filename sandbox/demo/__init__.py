"""The demo page of the sandbox, and the app's backend that it needs."""
