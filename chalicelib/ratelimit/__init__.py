"""How often anything is asked of Sync, for each caller and for all together."""
