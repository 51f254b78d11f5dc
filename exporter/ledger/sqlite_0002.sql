-- States of the metrics, each containing all entries up to a position. A start reads only the entries after it.
-- The newest two are kept.
CREATE TABLE checkpoint (
    position   INTEGER PRIMARY KEY, -- of the last entry that the state contains
    written_at INTEGER NOT NULL, -- milliseconds since 1970 UTC, by the ledger's clock
    state      BLOB NOT NULL
) STRICT;
