"""The upload broker: all that is deployed, beside `app.py`."""
