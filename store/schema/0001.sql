-- Schema version 1. Never edited: changes are the next file's.
--
-- Tables with the columns id, body and leaf are covered by the log: body is the
-- row's JSON, leaf the index of the newest log entry about it, and every further
-- column is derived from body. Times are milliseconds since 1970, 0 for none.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
  idx     INTEGER PRIMARY KEY CHECK (idx >= 0),
  leaf    TEXT    NOT NULL,
  kind    TEXT    NOT NULL,
  id      TEXT    NOT NULL,
  package TEXT    NOT NULL,
  by      TEXT    NOT NULL,
  at      INTEGER NOT NULL
) STRICT;
CREATE INDEX log_row ON log (kind, id, idx);
CREATE INDEX log_package ON log (package, idx) WHERE package <> '';

-- Hashes of the tree, by tlog.StoredHashIndex.
CREATE TABLE hash (
  idx  INTEGER PRIMARY KEY CHECK (idx >= 0),
  hash BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- Judged bytes, by their SHA-256.
CREATE TABLE blob (
  digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
  data   BLOB NOT NULL
) STRICT;

-- Evidence, by the SHA-256 of body. checked and run are those of the newest use.
CREATE TABLE evidence (
  digest  BLOB    PRIMARY KEY CHECK (length(digest) = 32),
  id      TEXT    NOT NULL,
  release TEXT    NOT NULL,
  body    TEXT    NOT NULL,
  checked INTEGER NOT NULL,
  run     TEXT    NOT NULL
) STRICT;
CREATE INDEX evidence_release ON evidence (release);

CREATE TABLE evidence_blob (
  evidence BLOB NOT NULL REFERENCES evidence (digest) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  blob     BLOB NOT NULL REFERENCES blob (digest) DEFERRABLE INITIALLY DEFERRED,
  PRIMARY KEY (evidence, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX evidence_blob_blob ON evidence_blob (blob);

-- Which log entry rests on which evidence.
CREATE TABLE evidence_use (
  leaf     INTEGER NOT NULL,
  evidence BLOB    NOT NULL REFERENCES evidence (digest) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  checked  INTEGER NOT NULL,
  PRIMARY KEY (leaf, evidence)
) STRICT, WITHOUT ROWID;
CREATE INDEX evidence_use_evidence ON evidence_use (evidence);

CREATE TABLE run (
  id      TEXT    PRIMARY KEY,
  body    TEXT    NOT NULL,
  leaf    INTEGER NOT NULL,
  started INTEGER NOT NULL,
  verdict TEXT    NOT NULL
) STRICT;

CREATE TABLE decision (
  id      TEXT    PRIMARY KEY,
  body    TEXT    NOT NULL,
  leaf    INTEGER NOT NULL UNIQUE,
  run     TEXT    NOT NULL REFERENCES run (id) DEFERRABLE INITIALLY DEFERRED,
  release TEXT    NOT NULL,
  package TEXT    NOT NULL,
  verdict TEXT    NOT NULL,
  at      INTEGER NOT NULL,
  input   BLOB    REFERENCES blob (digest) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX decision_run ON decision (run);
CREATE INDEX decision_release ON decision (release, leaf);
CREATE INDEX decision_package ON decision (package, leaf);
CREATE INDEX decision_input ON decision (input) WHERE input IS NOT NULL;

-- Evidence of a run that no decision of it rests on.
CREATE TABLE collected (
  id   TEXT    PRIMARY KEY,
  body TEXT    NOT NULL,
  leaf INTEGER NOT NULL UNIQUE
) STRICT;

-- Every digest that a decision saw; leaf is the first decision's.
CREATE TABLE seen (
  release TEXT    NOT NULL,
  name    TEXT    NOT NULL,
  digest  TEXT    NOT NULL,
  leaf    INTEGER NOT NULL REFERENCES decision (leaf) DEFERRABLE INITIALLY DEFERRED,
  PRIMARY KEY (release, name, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_leaf ON seen (leaf);

CREATE TABLE pin (
  id      TEXT    PRIMARY KEY,
  body    TEXT    NOT NULL,
  leaf    INTEGER NOT NULL,
  package TEXT    NOT NULL
) STRICT;
CREATE INDEX pin_package ON pin (package);

-- The signers of pinned releases, for "what had this signer vouched for".
CREATE TABLE vouch (
  identity TEXT NOT NULL,
  pin      TEXT NOT NULL REFERENCES pin (id) DEFERRABLE INITIALLY DEFERRED,
  PRIMARY KEY (identity, pin)
) STRICT, WITHOUT ROWID;
CREATE INDEX vouch_pin ON vouch (pin);

-- key is what look-ups join on: the package, the namespace or ecosystem with
-- "/*", or "" for scopes that any package can fall under.
CREATE TABLE acceptance (
  id       TEXT    PRIMARY KEY,
  body     TEXT    NOT NULL,
  leaf     INTEGER NOT NULL,
  identity TEXT    NOT NULL,
  scope    TEXT    NOT NULL,
  key      TEXT    NOT NULL,
  origin   TEXT    NOT NULL,
  until    INTEGER NOT NULL,
  revoked  INTEGER NOT NULL
) STRICT;
CREATE INDEX acceptance_key ON acceptance (key);
CREATE INDEX acceptance_identity ON acceptance (identity);
CREATE INDEX acceptance_origin ON acceptance (origin) WHERE origin <> '';

CREATE TABLE request (
  id      TEXT    PRIMARY KEY,
  body    TEXT    NOT NULL,
  leaf    INTEGER NOT NULL,
  release TEXT    NOT NULL,
  state   TEXT    NOT NULL,
  at      INTEGER NOT NULL
) STRICT;
CREATE INDEX request_release ON request (release);
CREATE INDEX request_state ON request (state, at);

CREATE TABLE approval (
  id      TEXT    PRIMARY KEY,
  body    TEXT    NOT NULL,
  leaf    INTEGER NOT NULL,
  release TEXT    NOT NULL,
  until   INTEGER NOT NULL
) STRICT;
CREATE INDEX approval_release ON approval (release);

CREATE TABLE material (
  id    TEXT    PRIMARY KEY,
  body  TEXT    NOT NULL,
  leaf  INTEGER NOT NULL,
  kind  TEXT    NOT NULL,
  scope TEXT    NOT NULL
) STRICT;
CREATE INDEX material_kind ON material (kind, scope);

-- What adapters keep, such as tree heads of checksum databases.
CREATE TABLE state (
  id   TEXT    PRIMARY KEY,
  body TEXT    NOT NULL,
  leaf INTEGER NOT NULL
) STRICT;

CREATE TABLE alarm (
  id    TEXT    PRIMARY KEY,
  body  TEXT    NOT NULL,
  leaf  INTEGER NOT NULL,
  about TEXT    NOT NULL,
  proof BLOB    NOT NULL REFERENCES blob (digest) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX alarm_proof ON alarm (proof);

-- Trust sets that were imported: key, serial and digest of the newest.
CREATE TABLE origin (
  id   TEXT    PRIMARY KEY,
  body TEXT    NOT NULL,
  leaf INTEGER NOT NULL
) STRICT;
