-- Payment accounts: keys that users let spend through their agents, and what was spent. Times are Unix milliseconds; keys and hashes
-- are 32 raw bytes; amounts are minor units.

CREATE TABLE agent_accounts (
    owner       bytea  NOT NULL REFERENCES agents ON DELETE CASCADE,
    key         bytea  NOT NULL CHECK (octet_length(key) = 32),
    -- What the user calls it.
    name        text   NOT NULL CHECK (length(name) BETWEEN 1 AND 256),
    -- The root's word: unit, limits, peers, from when, until when.
    delegation  text   NOT NULL CHECK (length(delegation) <= 65536),
    -- A key that has ended does not come back.
    status      text   NOT NULL CHECK (status IN ('active', 'revoked', 'restored')),
    -- What was spent in all, and on the newest day (UTC, days since 1970) on which something was; with what is reserved.
    spent       bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    day         bigint NOT NULL DEFAULT 0 CHECK (day >= 0),
    day_spent   bigint NOT NULL DEFAULT 0 CHECK (day_spent >= 0 AND day_spent <= spent),
    -- When the user's homeserver was last seen not to hold a revocation.
    checked_at  bigint NOT NULL CHECK (checked_at >= 0),
    created_at  bigint NOT NULL CHECK (created_at >= 0),
    PRIMARY KEY (owner, key)
);

CREATE TABLE agent_spends (
    owner       bytea   NOT NULL,
    id          text    NOT NULL CHECK (length(id) = 22),
    key         bytea   NOT NULL,
    -- When it was taken, and on which day it counts.
    at          bigint  NOT NULL CHECK (at >= 0),
    day         bigint  NOT NULL CHECK (day >= 0),
    -- What the account signed.
    record      text    NOT NULL CHECK (length(record) <= 65536),
    hash        bytea   NOT NULL CHECK (octet_length(hash) = 32),
    unit        text    NOT NULL,
    amount      bigint  NOT NULL CHECK (amount > 0),
    -- What counts against the limits: at first with the most that it may cost, at the end with what it has cost.
    cost        bigint  NOT NULL CHECK (cost >= 0),
    expires     bigint  NOT NULL CHECK (expires >= 0),
    -- Whether the agent signed it itself; else the user's wallet pays.
    direct      boolean NOT NULL,
    state       text    NOT NULL CHECK (state IN ('waiting', 'paying', 'unknown', 'paid', 'failed')),
    -- Why it failed: a code.
    reason      text CHECK (length(reason) <= 64),
    fee         bigint  NOT NULL DEFAULT 0 CHECK (fee >= 0),
    -- What shows that it was paid, JSON.
    receipt     text CHECK (length(receipt) <= 4096),
    ended_at    bigint,
    PRIMARY KEY (owner, id),
    FOREIGN KEY (owner, key) REFERENCES agent_accounts ON DELETE CASCADE,
    CHECK ((state IN ('paid', 'failed')) = (ended_at IS NOT NULL)),
    CHECK (state <> 'failed' OR cost = 0),
    CHECK (state <> 'paid' OR cost = amount + fee)
);
CREATE INDEX agent_spends_by_age ON agent_spends (owner, at, id);
CREATE INDEX agent_spends_open ON agent_spends (owner, key, expires) WHERE ended_at IS NULL;
CREATE INDEX agent_spends_ended ON agent_spends (ended_at) WHERE ended_at IS NOT NULL;
