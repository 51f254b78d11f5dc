"""From facts to samples: what each metric is, how facts move it, how it is written down.

Knows no ledger and no Adobe.
"""
