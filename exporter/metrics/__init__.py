"""From facts to samples: the table of metrics, what each fact changes, and how samples are written.

Modules here import neither the ledger nor anything that reads Adobe's payloads.
"""
