-- Schema version 2: "log show" by person and by time without reading the whole log.
CREATE INDEX log_by ON log (by, idx) WHERE by <> '';
CREATE INDEX log_at ON log (at);
