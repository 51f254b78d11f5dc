"""A made-up organisation whose notifications are sent like Adobe's, for demonstrations and tests.

Nothing here uses the exporter's own parser. Both sides implement Adobe's documents independently, so that tests can
compare one with the other. The steps: organisation (flows), runs, timeline (notifications and their times), deliveries
(late, repeated, in batches), payloads and envelopes (Adobe's JSON), signing, sender.
"""
