-- Payment accounts: keys that this user lets spend through the agent, and what they asked for. Amounts are whole minor units, times
-- are Unix milliseconds, keys are in z-base-32.

CREATE TABLE account (
    key        TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    -- The root's word for it.
    delegation TEXT NOT NULL,
    -- At which plugin it counts.
    plugin     TEXT NOT NULL,
    -- Whether the agent knows how it stands.
    told       INTEGER NOT NULL CHECK (told IN (0, 1)),
    revoked_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX account_name ON account (name) WHERE revoked_at IS NULL;

CREATE TABLE account_spend (
    id         TEXT PRIMARY KEY NOT NULL,
    account    TEXT NOT NULL REFERENCES account,
    -- When the agent took it, and the day (UTC, since 1970) on which it counts.
    at         INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    -- What the account signed.
    record     TEXT NOT NULL,
    payee      TEXT,
    unit       TEXT NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    -- What counts against the limits.
    cost       INTEGER NOT NULL CHECK (cost >= 0),
    -- seen: the agent told of it. waiting: it is for this wallet. claimed: this wallet pays it, and nothing was promised yet.
    -- paying: something was promised. paid, failed.
    state      TEXT NOT NULL CHECK (state IN ('seen', 'waiting', 'claimed', 'paying', 'paid', 'failed')),
    -- Whether the agent knows that.
    told       INTEGER NOT NULL CHECK (told IN (0, 1)),
    reason     TEXT,
    fee        INTEGER NOT NULL DEFAULT 0,
    -- What shows that it was paid, JSON.
    receipt    TEXT,
    -- The payment over friends.
    payment    TEXT UNIQUE,
    ended_at   INTEGER,
    CHECK ((state = 'paying') <= (payment IS NOT NULL)),
    CHECK ((state IN ('paid', 'failed')) = (ended_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX account_spend_by_age ON account_spend (account, at, id);
CREATE INDEX account_spend_open ON account_spend (at) WHERE state IN ('waiting', 'claimed', 'paying') OR told = 0;
