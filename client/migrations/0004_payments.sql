-- Payments over several hops: what this wallet passes on, asks for, and pays.
-- Amounts are whole minor units, times are Unix milliseconds, users are keys in z-base-32, bodies are JSON of the ledger.

-- To whom promises are passed on, and for how much. `*` stands for every friend.
CREATE TABLE forward_rule (
    user    TEXT NOT NULL,
    unit    TEXT NOT NULL,
    -- 0: not to this friend, whatever the rule for everybody says.
    allowed INTEGER NOT NULL CHECK (allowed IN (0, 1)),
    min     INTEGER NOT NULL CHECK (min >= 1),
    base    INTEGER NOT NULL CHECK (base >= 0),
    ppm     INTEGER NOT NULL CHECK (ppm BETWEEN 0 AND 1000000),
    PRIMARY KEY (user, unit)
) STRICT, WITHOUT ROWID;

-- What is published about the channel with a friend.
CREATE TABLE advert (
    user         TEXT PRIMARY KEY NOT NULL,
    serial       INTEGER NOT NULL,
    -- What it says; empty if it was removed.
    body         TEXT NOT NULL,
    -- The version of the books that it was compared with.
    pair_version INTEGER NOT NULL,
    written_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A promise that came and the one that was made onward for it.
CREATE TABLE relay (
    -- The hashes of the two promises.
    incoming   TEXT PRIMARY KEY NOT NULL,
    outgoing   TEXT NOT NULL UNIQUE,
    from_user  TEXT NOT NULL,
    to_user    TEXT NOT NULL,
    body       TEXT NOT NULL,
    -- 1: nothing more can follow.
    over       INTEGER NOT NULL DEFAULT 0 CHECK (over IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX relay_from ON relay (from_user) WHERE over = 0;
CREATE INDEX relay_to ON relay (to_user) WHERE over = 0;
CREATE INDEX relay_over ON relay (created_at) WHERE over = 1;

-- How many payments of a friend have failed here lately.
CREATE TABLE tally (
    user TEXT PRIMARY KEY NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What this user asks for. The secret lies sealed in `preimage`.
CREATE TABLE invoice (
    id         TEXT PRIMARY KEY NOT NULL,
    hash       TEXT NOT NULL UNIQUE,
    record     TEXT NOT NULL,
    collection TEXT NOT NULL,
    stage      TEXT NOT NULL CHECK (stage IN ('open', 'publishing', 'paid', 'failed')),
    -- 1: a part has come and is not decided.
    busy       INTEGER NOT NULL DEFAULT 0 CHECK (busy IN (0, 1)),
    received   INTEGER NOT NULL DEFAULT 0 CHECK (received >= 0),
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX invoice_busy ON invoice (hash) WHERE busy = 1;

-- What this user pays.
CREATE TABLE payment (
    id          TEXT PRIMARY KEY NOT NULL,
    -- A payment that was not paid gives its hash free again.
    hash        TEXT NOT NULL,
    payee       TEXT NOT NULL,
    -- What was asked for and how to look for ways.
    plan        TEXT NOT NULL,
    -- The attempt with its keys, sealed.
    attempt     BLOB NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('open', 'paid', 'failed')),
    -- How often ways were looked for.
    tries       INTEGER NOT NULL DEFAULT 0,
    -- A process that looks after it said so until then.
    lease_until INTEGER NOT NULL DEFAULT 0,
    -- Whose keys signed what the last hop showed: looked up before anything is published.
    shown       TEXT,
    fee         INTEGER,
    why         TEXT,
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX payment_hash ON payment (hash);
CREATE INDEX payment_open ON payment (created_at) WHERE state = 'open';
