-- States that contain all entries up to a position, so that a start need not read these again. Two are kept.
CREATE TABLE checkpoint (
    position   INTEGER PRIMARY KEY, -- of the last entry that the state contains
    written_at INTEGER NOT NULL, -- milliseconds since 1970 UTC, by the ledger's clock
    state      BLOB NOT NULL
) STRICT;
