"""What all tests have in common."""

from hypothesis import settings

# An example that takes long has found a busy machine, not a defect; pytest's time-out remains.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
