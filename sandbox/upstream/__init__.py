"""A local stand-in for Sync (sync.so): its asset API and storage, without an account or a key."""
