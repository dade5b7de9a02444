-- Witness logs, and the promises that hang on them.
-- Origins are names of logs, hashes are in base64url, notes are signed notes (C2SP), times are Unix milliseconds.

CREATE TABLE log (
    origin      TEXT PRIMARY KEY NOT NULL,
    -- The policy in force.
    policy_hash TEXT NOT NULL,
    url         TEXT NOT NULL,
    -- 1: the user gave this address; it may be on a private network.
    named       INTEGER NOT NULL CHECK (named IN (0, 1)),
    -- 1: the user does not want it.
    refused     INTEGER NOT NULL DEFAULT 0 CHECK (refused IN (0, 1)),
    -- The newest checkpoint that counts, and the size of its tree. Both only ever grow.
    checkpoint  TEXT,
    size        INTEGER NOT NULL DEFAULT 0 CHECK (size >= 0),
    checked_at  INTEGER,
    added_at    INTEGER NOT NULL,
    CHECK ((checkpoint IS NULL) = (checked_at IS NULL))
) STRICT, WITHOUT ROWID;

-- Every policy that was in force once: promises name them by hash.
CREATE TABLE log_policy (
    origin      TEXT NOT NULL,
    policy_hash TEXT NOT NULL,
    policy      TEXT NOT NULL,
    PRIMARY KEY (origin, policy_hash)
) STRICT, WITHOUT ROWID;

-- Proofs that a log or a cosigner lied, verified. They outlive the log's own row.
CREATE TABLE log_fork (
    origin   TEXT NOT NULL,
    -- The verifier key of who lied.
    culprit  TEXT NOT NULL,
    role     TEXT NOT NULL CHECK (role IN ('log', 'cosigner')),
    what     TEXT NOT NULL,
    proof    BLOB NOT NULL,
    found_at INTEGER NOT NULL,
    PRIMARY KEY (origin, culprit)
) STRICT, WITHOUT ROWID;

CREATE TABLE watchtower (
    url      TEXT PRIMARY KEY NOT NULL,
    -- Up to where its verdicts were read.
    after    TEXT,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a watchtower was already handed: the size of the newest checkpoint of each log, or proofs by their culprit.
CREATE TABLE watchtower_told (
    url    TEXT NOT NULL,
    what   TEXT NOT NULL,
    size   INTEGER NOT NULL,
    PRIMARY KEY (url, what)
) STRICT, WITHOUT ROWID;

-- Checkpoints that others relied on and that were not compared with the own one yet.
CREATE TABLE log_note (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    origin  TEXT NOT NULL,
    note    TEXT NOT NULL,
    -- Who showed it; NULL: the log itself.
    user    TEXT,
    seen_at INTEGER NOT NULL,
    UNIQUE (origin, note)
) STRICT;

-- From where on entries are kept that open promises ask about. `base` are the hashes of everything before `start`.
CREATE TABLE log_window (
    origin TEXT PRIMARY KEY NOT NULL,
    start  INTEGER NOT NULL,
    base   BLOB NOT NULL,
    CHECK (start >= 0)
) STRICT, WITHOUT ROWID;

-- Entry bundles of that window: 256 entries each, the last one fewer.
CREATE TABLE log_bundle (
    origin TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    width  INTEGER NOT NULL CHECK (width BETWEEN 1 AND 256),
    body   BLOB NOT NULL,
    PRIMARY KEY (origin, idx)
) STRICT, WITHOUT ROWID;

-- Secrets whose publication makes promises due, sealed.
CREATE TABLE preimage (
    hash         TEXT PRIMARY KEY NOT NULL,
    sealed       BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    -- When this wallet published it.
    published_at INTEGER
) STRICT, WITHOUT ROWID;

-- That a promise had expired, as this wallet proved it to itself: if a proof of the contrary turns up, the two convict somebody.
CREATE TABLE expiry_proof (
    iou         TEXT NOT NULL,
    origin      TEXT NOT NULL,
    policy_hash TEXT NOT NULL,
    proof       BLOB NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (iou, origin)
) STRICT, WITHOUT ROWID;
