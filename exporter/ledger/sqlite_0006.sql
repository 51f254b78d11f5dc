-- The statements that a flow was forgotten, which are few.
CREATE INDEX entry_forgotten ON entry (flow_id, position) WHERE kind = 'forgotten';
