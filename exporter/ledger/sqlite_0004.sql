-- The event's id as it came, for people. It is not unique, and decides nothing: fact_key alone does. The column event_id
-- holds the ids that version 0.1.0 recorded, and is NULL in later entries.
--
-- `counts` is 1 for the first outcome recorded of a run. Since this version it is 2 for an outcome that is provisional
-- (status unknown) and was recorded before any other: it counts, and takes no place in entry_counted_run.
ALTER TABLE entry ADD COLUMN event TEXT;
