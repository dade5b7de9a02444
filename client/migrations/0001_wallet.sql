-- The wallet's own books. Everything here commits before anything is sent.
-- Amounts are whole minor units (0 to 2^63 - 1), times are Unix milliseconds, users are keys in z-base-32.

CREATE TABLE setting (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Secret bytes: book keys, encryption file keys, the homeserver session.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE unit (
    unit      TEXT PRIMARY KEY NOT NULL,
    -- What this user may owe one friend at most; NULL: no cap of their own.
    cap       INTEGER CHECK (cap >= 0),
    opened_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE contact (
    user       TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL COLLATE NOCASE,
    -- 'friend', 'pending' (a stranger who said hello) or 'removed'
    status     TEXT NOT NULL CHECK (status IN ('friend', 'pending', 'removed')),
    added_at   INTEGER NOT NULL,
    last_seen  INTEGER,
    homeserver TEXT,
    profile    TEXT,
    profile_at INTEGER
) STRICT, WITHOUT ROWID;

-- Two friends never share a name, so that a name always means one key.
CREATE UNIQUE INDEX contact_name ON contact (name) WHERE status = 'friend';

-- The user's policy, one rule a friend and unit: how much they may owe, and how much the user wants to owe them.
CREATE TABLE rule (
    user   TEXT NOT NULL,
    unit   TEXT NOT NULL,
    accept INTEGER CHECK (accept >= 0),
    issue  INTEGER CHECK (issue >= 0),
    PRIMARY KEY (user, unit)
) STRICT, WITHOUT ROWID;

-- The books of one pair, as the ledger serializes them.
CREATE TABLE pair (
    user           TEXT PRIMARY KEY NOT NULL,
    version        INTEGER NOT NULL,
    body           TEXT NOT NULL,
    -- The version that the channel file on the homeserver shows; below `version`: to be written.
    file_version   INTEGER NOT NULL DEFAULT 0,
    file_path      TEXT,
    -- The newest channel file of the peer that was applied.
    peer_etag      TEXT,
    peer_read_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    user       TEXT,
    unit       TEXT,
    kind       TEXT NOT NULL,
    direction  TEXT CHECK (direction IN ('out', 'in')),
    amount     INTEGER CHECK (amount >= 0),
    epoch      INTEGER,
    seq        INTEGER,
    status     TEXT,
    payment    TEXT,
    memo       TEXT,
    reference  TEXT,
    note       TEXT
) STRICT;

CREATE INDEX history_user ON history (user, id);
CREATE INDEX history_open ON history (user, unit, status) WHERE status = 'sent';
CREATE UNIQUE INDEX history_payment ON history (user, payment, direction) WHERE payment IS NOT NULL;

-- Records that still have to reach a peer's inbox.
CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    user        TEXT NOT NULL,
    records     TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    next_try_at INTEGER NOT NULL,
    last_error  TEXT
) STRICT;

CREATE INDEX outbox_user ON outbox (user, id);

-- Files that still have to be written to, or removed from, the own homeserver.
CREATE TABLE publication (
    path       TEXT PRIMARY KEY NOT NULL,
    -- NULL: remove the file.
    body       BLOB,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Envelopes that were read from an inbox, by the hash of their content: a second copy changes nothing.
CREATE TABLE envelope (
    hash    BLOB PRIMARY KEY NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX envelope_age ON envelope (seen_at);

-- Records whose signer's authority could not be checked yet: neither applied nor lost.
CREATE TABLE pending_record (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    user    TEXT NOT NULL,
    record  TEXT NOT NULL,
    kind    TEXT NOT NULL,
    reason  TEXT NOT NULL,
    since   INTEGER NOT NULL,
    UNIQUE (user, record)
) STRICT;
