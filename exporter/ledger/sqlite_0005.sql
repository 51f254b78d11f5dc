-- When Adobe says that the notification's run was updated last: milliseconds since 1970. NULL where Adobe gives no such
-- time, and in entries of earlier versions. Then the end of the run stands for it.
ALTER TABLE entry ADD COLUMN updated_at INTEGER;

-- What lists of runs are read from, so that none reads the whole table (exporter/ledger/sqlite_runs.py). An index holds
-- all that a list filters by. The time is the end of a run, or when it was recorded if that is not known.
CREATE INDEX entry_outcome ON entry (
    coalesce(sandbox, ''), status, coalesce(completed_at, received_at)
) WHERE kind = 'run' AND status IN ('success', 'partial_success', 'failed', 'cancelled', 'unknown');

-- Every entry of a flow but the statements that it was forgotten, which belong to no sandbox.
CREATE INDEX entry_flow ON entry (
    flow_id, coalesce(sandbox, ''), coalesce(status, ''), coalesce(completed_at, received_at)
) WHERE flow_id IS NOT NULL AND kind <> 'forgotten';

-- Outcomes with error codes. They are few, so this index costs little.
CREATE INDEX entry_error ON entry (
    error_codes, coalesce(completed_at, received_at), position, coalesce(flow_id, ''), coalesce(sandbox, ''), status
) WHERE error_codes IS NOT NULL AND kind = 'run'
    AND status IN ('success', 'partial_success', 'failed', 'cancelled', 'unknown');

-- Other facts of a run are found by their fact keys. That of an alert does not name the run.
CREATE INDEX entry_alert_run ON entry (run_id) WHERE kind = 'alert' AND run_id <> '';

CREATE INDEX entry_not_understood ON entry (position) WHERE kind IN ('unsupported', 'unreadable');

-- When something was last delivered by each source. From now on each commit writes it.
INSERT INTO cursor (name, value)
SELECT 'delivered:' || source, CAST(max(received_at) AS TEXT) FROM entry WHERE kind <> 'clock' GROUP BY source;
