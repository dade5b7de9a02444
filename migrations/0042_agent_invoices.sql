-- Invoices whose payment an agent waits for. Times are Unix milliseconds, amounts minor units.

CREATE TABLE agent_invoices (
    owner       bytea  NOT NULL REFERENCES agents ON DELETE CASCADE,
    -- The hash of the secret.
    hash        bytea  NOT NULL CHECK (octet_length(hash) = 32),
    id          text   NOT NULL CHECK (length(id) = 22),
    created_at  bigint NOT NULL CHECK (created_at >= 0),
    -- What was asked for, so that asking again changes nothing.
    digest      bytea  NOT NULL CHECK (octet_length(digest) = 32),
    record      text   NOT NULL CHECK (length(record) <= 65536),
    -- The secret, sealed under the plugin's own.
    sealed      bytea  NOT NULL CHECK (octet_length(sealed) <= 65536),
    -- What has come for it.
    collection  text   NOT NULL,
    state       text   NOT NULL CHECK (state IN ('open', 'publishing', 'paid', 'failed', 'withdrawn')),
    received    bigint NOT NULL DEFAULT 0 CHECK (received >= 0),
    -- When what has come must be given back, if not all is there by then.
    look_at     bigint,
    ended_at    bigint,
    PRIMARY KEY (owner, hash),
    UNIQUE (owner, id),
    CHECK ((state IN ('open', 'publishing')) = (ended_at IS NULL))
);
CREATE INDEX agent_invoices_by_age ON agent_invoices (owner, created_at, id);
CREATE INDEX agent_invoices_late ON agent_invoices (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX agent_invoices_publishing ON agent_invoices (owner) WHERE state = 'publishing';
