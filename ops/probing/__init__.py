"""Find out, with a few harmless calls, what Sync's API does where its documentation is silent."""
