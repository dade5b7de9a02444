-- Places outside that payment accounts have paid, by this user's rails.

-- At which rate: as in settle_rule. None: only what the unit itself counts is paid.
ALTER TABLE account ADD COLUMN rate_msat INTEGER CHECK (rate_msat > 0);
ALTER TABLE account ADD COLUMN spread_ppm INTEGER NOT NULL DEFAULT 0 CHECK (spread_ppm BETWEEN 0 AND 1000000);
ALTER TABLE account ADD COLUMN by_source INTEGER NOT NULL DEFAULT 0 CHECK (by_source IN (0, 1));

-- A check of a table can't be changed in place.
CREATE TABLE account_spend_next (
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
    -- paying: something was promised, or a rail was told. unknown: what became of that nobody knows at present. paid, failed.
    state      TEXT NOT NULL CHECK (state IN ('seen', 'waiting', 'claimed', 'paying', 'unknown', 'paid', 'failed')),
    -- Whether the agent knows that.
    told       INTEGER NOT NULL CHECK (told IN (0, 1)),
    reason     TEXT,
    fee        INTEGER NOT NULL DEFAULT 0,
    -- What shows that it was paid, JSON.
    receipt    TEXT,
    -- The payment over friends.
    payment    TEXT UNIQUE,
    -- What is paid outside: the ledger's machine, JSON.
    outlay     TEXT,
    -- When it is looked at again, and how often nothing came of that.
    next_at    INTEGER NOT NULL DEFAULT 0,
    tries      INTEGER NOT NULL DEFAULT 0,
    ended_at   INTEGER,
    CHECK ((state = 'paying') <= (payment IS NOT NULL OR outlay IS NOT NULL)),
    CHECK ((state = 'unknown') <= (outlay IS NOT NULL)),
    CHECK ((state IN ('paid', 'failed')) = (ended_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO account_spend_next (id, account, at, day, record, payee, unit, amount, cost, state, told, reason, fee, receipt, payment, ended_at)
    SELECT id, account, at, day, record, payee, unit, amount, cost, state, told, reason, fee, receipt, payment, ended_at FROM account_spend;
DROP TABLE account_spend;
ALTER TABLE account_spend_next RENAME TO account_spend;

CREATE INDEX account_spend_by_age ON account_spend (account, at, id);
CREATE INDEX account_spend_open ON account_spend (at) WHERE state IN ('waiting', 'claimed', 'paying', 'unknown') OR told = 0;
CREATE INDEX account_spend_outside ON account_spend (next_at) WHERE outlay IS NOT NULL AND ended_at IS NULL;
