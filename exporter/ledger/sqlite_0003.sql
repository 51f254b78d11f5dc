-- Paths of Adobe's public keys that have verified a delivery to this program. At most 64, and never a key.
CREATE TABLE key_path (
    path         TEXT PRIMARY KEY,
    last_used_at INTEGER NOT NULL -- milliseconds since 1970 UTC, by the ledger's clock, written at most once a day
) STRICT, WITHOUT ROWID;
