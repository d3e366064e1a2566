"""How much hypothesis tries. Loaded before the tests are: a @given takes the profile of its time."""

from hypothesis import HealthCheck, settings

# A machine is busy, some examples are large, and the fixture `trial` counts all examples of a test.
COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}

settings.register_profile("short", max_examples=5, derandomize=True, **COMMON)
settings.register_profile("full", max_examples=600, print_blob=True, **COMMON)
settings.load_profile("short")
