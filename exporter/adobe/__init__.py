"""Everything Adobe: how it says what it says. Replaceable as a whole; knows nothing of ledgers, metrics or the web."""
