"""What each caller may use, and has used."""
