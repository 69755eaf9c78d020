"""HTTP: from API Gateway's events to requests, and from responses and failures to HTTP."""
