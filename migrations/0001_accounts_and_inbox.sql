-- Accounts, sessions and inbox of one plugin. Times are Unix milliseconds; keys, digests and tags are 32 raw bytes.

-- One row per registered user. The row is locked by whoever appends to the user's inbox, so that ids are handed out in the order
-- in which they become visible: a reader that has seen id n never misses a smaller one that commits later.
CREATE TABLE accounts (
    owner          bytea   NOT NULL PRIMARY KEY CHECK (octet_length(owner) = 32),
    registered_at  bigint  NOT NULL CHECK (registered_at >= 0),
    -- Set when the user has left: the inbox takes nothing any more and can still be read.
    closed_at      bigint CHECK (closed_at >= 0),
    last_id        bigint  NOT NULL DEFAULT 0 CHECK (last_id >= 0),
    queued         bigint  NOT NULL DEFAULT 0 CHECK (queued >= 0),
    queued_bytes   bigint  NOT NULL DEFAULT 0 CHECK (queued_bytes >= 0),
    -- How many of them came without a known tag.
    strangers      bigint  NOT NULL DEFAULT 0 CHECK (strangers >= 0 AND strangers <= queued),
    -- Units in which the user lets everybody see that they keep books.
    public_units   text[]  NOT NULL DEFAULT '{}' CHECK (cardinality(public_units) <= 256),
    CHECK ((queued = 0) = (queued_bytes = 0)),
    CHECK (closed_at IS NULL OR closed_at >= registered_at)
) WITH (fillfactor = 50);

-- The tags by which a user's known counterparties address them.
CREATE TABLE tags (
    owner  bytea   NOT NULL REFERENCES accounts ON DELETE CASCADE CHECK (octet_length(owner) = 32),
    tag    bytea   NOT NULL CHECK (octet_length(tag) = 32),
    PRIMARY KEY (owner, tag)
);

CREATE TABLE envelopes (
    owner        bytea   NOT NULL REFERENCES accounts ON DELETE CASCADE CHECK (octet_length(owner) = 32),
    id           bigint   NOT NULL CHECK (id > 0),
    -- SHA-256 of the envelope in its stored form: the same envelope posted again is the same row.
    digest       bytea   NOT NULL CHECK (octet_length(digest) = 32),
    -- Whose budget it uses: a tag (known counterparty) or the keyed hash of a network address (stranger).
    known        boolean  NOT NULL,
    source       bytea   NOT NULL CHECK (octet_length(source) = 32),
    received_at  bigint  NOT NULL CHECK (received_at >= 0),
    size         integer  NOT NULL CHECK (size > 0),
    -- Emptied when the user acknowledges it; the row stays a while so that a late repeat is still recognised.
    body         text,
    acked_at     bigint CHECK (acked_at >= 0),
    PRIMARY KEY (owner, id),
    UNIQUE (owner, digest),
    CHECK ((body IS NULL) = (acked_at IS NOT NULL))
);
CREATE INDEX envelopes_waiting ON envelopes (owner, id) WHERE acked_at IS NULL;
CREATE INDEX envelopes_acked ON envelopes (acked_at) WHERE acked_at IS NOT NULL;

-- How much of an inbox each source fills at present. Empty rows are cleared away now and then.
CREATE TABLE budgets (
    owner         bytea   NOT NULL REFERENCES accounts ON DELETE CASCADE CHECK (octet_length(owner) = 32),
    known         boolean NOT NULL,
    source        bytea   NOT NULL CHECK (octet_length(source) = 32),
    queued        bigint  NOT NULL CHECK (queued >= 0),
    queued_bytes  bigint  NOT NULL CHECK (queued_bytes >= 0),
    PRIMARY KEY (owner, known, source)
) WITH (fillfactor = 50);

-- Only the hash of a token is kept.
CREATE TABLE sessions (
    owner       bytea   NOT NULL CHECK (octet_length(owner) = 32),
    token_hash  bytea   NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at  bigint  NOT NULL CHECK (created_at >= 0),
    expires_at  bigint  NOT NULL CHECK (expires_at >= 0),
    PRIMARY KEY (owner, token_hash),
    CHECK (expires_at > created_at)
);
CREATE INDEX sessions_by_age ON sessions (owner, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Nonces of proofs that were taken, for as long as the proof would still be young enough.
CREATE TABLE proof_nonces (
    owner       bytea   NOT NULL CHECK (octet_length(owner) = 32),
    nonce       text    NOT NULL CHECK (length(nonce) BETWEEN 1 AND 22),
    expires_at  bigint  NOT NULL CHECK (expires_at >= 0),
    PRIMARY KEY (owner, nonce)
);
CREATE INDEX proof_nonces_by_expiry ON proof_nonces (expires_at);

-- The newest signed summary that a user pushed of their own books.
CREATE TABLE snapshots (
    owner      bytea   NOT NULL PRIMARY KEY REFERENCES accounts ON DELETE CASCADE CHECK (octet_length(owner) = 32),
    at         bigint NOT NULL CHECK (at >= 0),
    stored_at  bigint  NOT NULL CHECK (stored_at >= 0),
    jws        text    NOT NULL CHECK (length(jws) BETWEEN 1 AND 1048576)
);
