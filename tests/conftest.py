"""Settings of hypothesis for all tests."""

from hypothesis import HealthCheck, settings

# No deadlines, because a busy machine would miss them. Few examples, because they run with every change. For more
# examples: `pytest --hypothesis-profile=thorough`.
settings.register_profile("quick", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick")
