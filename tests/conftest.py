"""Settings that all tests share."""

from hypothesis import settings

# A slow example is the sign of a busy machine, not of a defect; pytest's time-out remains.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
