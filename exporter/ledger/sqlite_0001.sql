-- All facts, in the order in which they were committed.
CREATE TABLE entry (
    position     INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice, not even after pruning
    event_id     TEXT UNIQUE,
    fact_key     TEXT NOT NULL UNIQUE,
    source       TEXT NOT NULL,
    received_at  INTEGER NOT NULL, -- milliseconds since 1970 UTC, by the ledger's clock
    kind         TEXT NOT NULL,
    event_code   TEXT,
    counts       INTEGER NOT NULL, -- 1 for the first outcome recorded of a run
    flow_id      TEXT,
    run_id       TEXT,
    sandbox      TEXT,
    status       TEXT,
    error_codes  TEXT, -- separated by blanks
    completed_at INTEGER, -- milliseconds since 1970 UTC, by Adobe's clock
    body         BLOB NOT NULL -- the event as it was received
) STRICT;

-- A run counts once: a defect that would count it twice makes the insert fail.
CREATE UNIQUE INDEX entry_counted_run ON entry (run_id) WHERE counts = 1;

-- How far a source that is read page by page has been read. The ledger's own rows: pruned, probe, lineage.
CREATE TABLE cursor (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
