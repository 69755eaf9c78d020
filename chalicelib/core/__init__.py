"""What every package uses, and what uses none of them: errors, settings, the log."""
