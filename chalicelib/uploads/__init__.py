"""Files and public URLs on their way to be assets of Sync: exactly one for each."""
