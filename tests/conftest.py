"""What all tests share: how hypothesis works here."""

from hypothesis import HealthCheck, settings

# No deadlines: these machines are noisy. Few examples, because every change runs them; a longer hunt is
# `pytest --hypothesis-profile=thorough`.
settings.register_profile("quick", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick")
