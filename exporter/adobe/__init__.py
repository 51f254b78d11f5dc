"""Reads what Adobe sends: headers, signatures, envelopes and payloads.

Nothing here does I/O or imports the ledger, the metrics or the web.
"""
