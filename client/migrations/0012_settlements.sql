-- Debts that are paid off outside: what this user asks of friends, what friends ask of this user, and the rails that pay.
-- Amounts are whole minor units, times are Unix milliseconds, users are keys in z-base-32, hashes in base64url.

-- What this user asked friends to pay.
CREATE TABLE demand (
    -- The hash of the signed request.
    settlement TEXT PRIMARY KEY NOT NULL,
    id         TEXT NOT NULL UNIQUE,
    user       TEXT NOT NULL,
    unit       TEXT NOT NULL,
    -- The holder's machine, JSON of the ledger.
    body       TEXT NOT NULL,
    -- What of the claim is kept for it without a direct release.
    reserves   INTEGER NOT NULL CHECK (reserves >= 0),
    -- The direct release that goes with it, and what that hangs on.
    release    TEXT UNIQUE,
    hash       TEXT,
    -- What was shown for it: it was paid.
    preimage   TEXT,
    -- Whether the friend still holds that release.
    held       INTEGER NOT NULL CHECK (held IN (0, 1)),
    over       INTEGER NOT NULL CHECK (over IN (0, 1)),
    -- When it is sent again.
    next_at    INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Whoever learns the preimage could book every release on its hash: only one is out at a time.
CREATE UNIQUE INDEX demand_hash ON demand (hash) WHERE held = 1;
CREATE INDEX demand_open ON demand (next_at) WHERE over = 0;

-- What friends asked this user to pay.
CREATE TABLE discharge (
    settlement TEXT PRIMARY KEY NOT NULL,
    id         TEXT NOT NULL,
    user       TEXT NOT NULL,
    unit       TEXT NOT NULL,
    -- The issuer's machine, JSON of the ledger.
    body       TEXT NOT NULL,
    reserves   INTEGER NOT NULL CHECK (reserves >= 0),
    -- The direct release that is its own to give up. Two requests never have the same.
    release    TEXT UNIQUE,
    -- Whether the user agreed to pay what it says.
    approved   INTEGER NOT NULL CHECK (approved IN (0, 1)),
    over       INTEGER NOT NULL CHECK (over IN (0, 1)),
    -- When it is looked at again, and how often nothing came of that.
    next_at    INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX discharge_id ON discharge (id);
CREATE INDEX discharge_user ON discharge (user);
CREATE INDEX discharge_open ON discharge (next_at) WHERE over = 0;

-- Payment hashes that a rail may have been told to pay, for ever: each serves one request.
CREATE TABLE taken_hash (
    hash       TEXT PRIMARY KEY NOT NULL,
    settlement TEXT NOT NULL UNIQUE,
    at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rail (
    name     TEXT PRIMARY KEY NOT NULL,
    -- JSON. It names files with secrets, and holds none.
    settings TEXT NOT NULL,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is paid without asking the user.
CREATE TABLE settle_rule (
    -- Empty: whoever has no rule of their own.
    user       TEXT NOT NULL,
    unit       TEXT NOT NULL,
    up_to      INTEGER NOT NULL CHECK (up_to > 0),
    -- What one whole of the unit is worth, in millisatoshi; none: only what the unit itself counts is paid.
    rate_msat  INTEGER CHECK (rate_msat > 0),
    spread_ppm INTEGER NOT NULL CHECK (spread_ppm BETWEEN 0 AND 1000000),
    PRIMARY KEY (user, unit)
) STRICT, WITHOUT ROWID;
