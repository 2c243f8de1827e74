-- Schema version 3: audits. What they rest on is in decisions, which the log
-- covers; these tables say which source holds which release, since when, and what
-- the audits found there. Order is by seq, the number of the audit, never by a clock.

-- finished is 0 for an audit that is under way or was cut short.
CREATE TABLE audit (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT,
  job      TEXT    NOT NULL,
  started  INTEGER NOT NULL,
  finished INTEGER NOT NULL,
  verdict  TEXT    NOT NULL,
  summary  TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_job ON audit (job, seq);

-- What an unfinished audit has settled, by the digest of the item.
CREATE TABLE audit_result (
  audit INTEGER NOT NULL REFERENCES audit (seq) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  item  BLOB    NOT NULL,
  body  BLOB    NOT NULL,
  PRIMARY KEY (audit, item)
) STRICT, WITHOUT ROWID;

-- first and last are audits; digest covers the list of releases.
CREATE TABLE audit_source (
  id      INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL UNIQUE,
  digest  BLOB    NOT NULL,
  first   INTEGER NOT NULL,
  last    INTEGER NOT NULL,
  last_at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_release (
  id      INTEGER PRIMARY KEY,
  release TEXT    NOT NULL UNIQUE,
  package TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_release_package ON audit_release (package);

-- since and at are the audit that saw the release in the source first, and its time.
CREATE TABLE audit_use (
  release INTEGER NOT NULL REFERENCES audit_release (id) DEFERRABLE INITIALLY DEFERRED,
  source  INTEGER NOT NULL REFERENCES audit_source (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  since   INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY (release, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_use_source ON audit_use (source);

-- Findings about a release, or about a source (release is ''). first is the audit
-- that found it, closed the one that did not find it any more, 0 while it stands.
CREATE TABLE audit_finding (
  release TEXT    NOT NULL,
  source  TEXT    NOT NULL,
  key     TEXT    NOT NULL,
  first   INTEGER NOT NULL,
  closed  INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  body    TEXT    NOT NULL,
  PRIMARY KEY (release, source, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_finding_source ON audit_finding (source) WHERE source <> '';
