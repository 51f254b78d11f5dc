"""An organisation that does not exist, and Adobe telling of it: for demonstrations and tests.

Nothing here knows how the exporter reads a notification: what both know is Adobe's documents, so that one can be held
against the other. The chain: organisation (flows) > runs > timeline (what is told, and when) > deliveries (late, twice,
in batches) > payloads and envelopes (Adobe's words) > signing > sender.
"""
