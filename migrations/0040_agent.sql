-- The agent: books that users let this plugin keep. Every table is led by the owner's key. Times are Unix milliseconds; keys, hashes
-- and tags are 32 raw bytes; amounts are minor units.

CREATE TABLE agents (
    owner       bytea   NOT NULL PRIMARY KEY REFERENCES accounts ON DELETE CASCADE CHECK (octet_length(owner) = 32),
    -- The agent's signing key for this user, the public half.
    key         bytea   NOT NULL CHECK (octet_length(key) = 32),
    -- The secret half and the user's file keys, sealed under the plugin's own secret. Empty once wiped.
    sealed      bytea CHECK (octet_length(sealed) <= 65536),
    status      text    NOT NULL CHECK (status IN ('new', 'active', 'stopped')),
    -- Why it stopped.
    why         text CHECK (length(why) <= 64),
    until       bigint  NOT NULL CHECK (until >= 0),
    -- The root's word for the key: a delegation or a grant.
    authority   text CHECK (length(authority) <= 65536),
    -- A grant to write the user's channel files.
    storage     text CHECK (length(storage) <= 65536),
    settings    text    NOT NULL CHECK (length(settings) <= 524288),
    created_at  bigint  NOT NULL CHECK (created_at >= 0),
    CHECK (status <> 'active' OR (sealed IS NOT NULL AND authority IS NOT NULL))
);

-- The books towards one peer. The row is locked by whoever changes them; several at once in the order of the peers' keys.
CREATE TABLE agent_pairs (
    owner         bytea   NOT NULL REFERENCES agents ON DELETE CASCADE,
    peer          bytea   NOT NULL CHECK (octet_length(peer) = 32),
    status        text    NOT NULL CHECK (status IN ('kept', 'returned')),
    -- The epoch in which they were handed over.
    epoch         bigint  NOT NULL CHECK (epoch >= 0),
    body          text    NOT NULL,
    version       bigint  NOT NULL CHECK (version > 0),
    -- What the channel file on the user's homeserver tells, and where it lies.
    file_version  bigint  NOT NULL DEFAULT 0 CHECK (file_version >= 0 AND file_version <= version),
    file_path     text,
    settings      text    NOT NULL CHECK (length(settings) <= 65536),
    -- The peer's profile as last verified.
    profile       text CHECK (length(profile) <= 65536),
    profile_at    bigint  NOT NULL DEFAULT 0,
    -- How many records of the peer can't be judged yet.
    held          integer NOT NULL DEFAULT 0 CHECK (held >= 0),
    -- How many of the peer's payments failed lately.
    tally         text    NOT NULL,
    -- The key that the books were returned to.
    returned_to   bytea CHECK (octet_length(returned_to) = 32),
    PRIMARY KEY (owner, peer),
    CHECK ((status = 'returned') = (returned_to IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX agent_pairs_unwritten ON agent_pairs (owner, peer) WHERE file_version < version;

-- Under which tags a peer writes.
CREATE TABLE agent_tags (
    owner  bytea NOT NULL,
    tag    bytea NOT NULL CHECK (octet_length(tag) = 32),
    peer   bytea NOT NULL,
    PRIMARY KEY (owner, tag),
    FOREIGN KEY (owner, peer) REFERENCES agent_pairs ON DELETE CASCADE
);
CREATE INDEX agent_tags_by_peer ON agent_tags (owner, peer);

-- Envelopes that were applied and are not acknowledged yet.
CREATE TABLE agent_seen (
    owner  bytea  NOT NULL,
    id     bigint NOT NULL,
    PRIMARY KEY (owner, id),
    FOREIGN KEY (owner, id) REFERENCES envelopes ON DELETE CASCADE
);

-- Records that can't be judged yet.
CREATE TABLE agent_held (
    owner   bytea  NOT NULL,
    peer    bytea  NOT NULL,
    hash    bytea  NOT NULL CHECK (octet_length(hash) = 32),
    at      bigint NOT NULL,
    reason  text   NOT NULL,
    record  text   NOT NULL CHECK (length(record) <= 65536),
    PRIMARY KEY (owner, peer, hash),
    FOREIGN KEY (owner, peer) REFERENCES agent_pairs ON DELETE CASCADE
);

-- What is to be sent. Rows go when the peer's inbox has them.
CREATE TABLE agent_outbox (
    owner    bytea  NOT NULL,
    peer     bytea  NOT NULL,
    id       bigint NOT NULL CHECK (id > 0),
    -- Compact forms, one in a line.
    records  text   NOT NULL CHECK (length(records) > 0),
    PRIMARY KEY (owner, peer, id),
    FOREIGN KEY (owner, peer) REFERENCES agent_pairs ON DELETE CASCADE
);

-- Every signature, for the user to see. Written with what it signs, before that leaves.
CREATE TABLE agent_journal (
    owner   bytea  NOT NULL REFERENCES agents ON DELETE CASCADE,
    id      bigint NOT NULL CHECK (id > 0),
    at      bigint NOT NULL,
    peer    bytea  NOT NULL,
    what    text   NOT NULL,
    unit    text,
    amount  bigint CHECK (amount >= 0),
    hash    bytea  NOT NULL CHECK (octet_length(hash) = 32),
    record  text   NOT NULL,
    PRIMARY KEY (owner, id)
);

-- What happened, for the user's apps.
CREATE TABLE agent_events (
    owner  bytea  NOT NULL REFERENCES agents ON DELETE CASCADE,
    id     bigint NOT NULL CHECK (id > 0),
    at     bigint NOT NULL,
    peer   bytea,
    kind   text   NOT NULL,
    body   text   NOT NULL,
    PRIMARY KEY (owner, id)
);
CREATE INDEX agent_events_by_age ON agent_events (at);

-- How much was issued on a day, towards one peer, or (with the owner's own key as peer) towards all.
CREATE TABLE agent_spent (
    owner   bytea  NOT NULL REFERENCES agents ON DELETE CASCADE,
    peer    bytea  NOT NULL,
    unit    text   NOT NULL,
    day     bigint NOT NULL,
    amount  bigint NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (owner, peer, unit, day)
);

-- What the user's apps asked for, so that asking again changes nothing.
CREATE TABLE agent_requests (
    owner   bytea  NOT NULL REFERENCES agents ON DELETE CASCADE,
    id      text   NOT NULL CHECK (length(id) = 22),
    at      bigint NOT NULL,
    digest  bytea  NOT NULL CHECK (octet_length(digest) = 32),
    answer  text   NOT NULL,
    PRIMARY KEY (owner, id)
);
CREATE INDEX agent_requests_by_age ON agent_requests (at);

-- Promises that hang on a log and are not decided: one row for each log that they name.
CREATE TABLE agent_promises (
    owner        bytea  NOT NULL,
    peer         bytea  NOT NULL,
    iou          bytea  NOT NULL CHECK (octet_length(iou) = 32),
    origin       text   NOT NULL,
    hash         bytea  NOT NULL CHECK (octet_length(hash) = 32),
    deadline_ms  bigint NOT NULL,
    PRIMARY KEY (owner, iou, origin),
    FOREIGN KEY (owner, peer) REFERENCES agent_pairs ON DELETE CASCADE
);
CREATE INDEX agent_promises_by_hash ON agent_promises (origin, hash);
CREATE INDEX agent_promises_by_deadline ON agent_promises (origin, deadline_ms);
CREATE INDEX agent_promises_by_peer ON agent_promises (owner, peer);

-- Promises that were passed on.
CREATE TABLE agent_relays (
    owner     bytea  NOT NULL,
    incoming  bytea  NOT NULL CHECK (octet_length(incoming) = 32),
    outgoing  bytea  NOT NULL CHECK (octet_length(outgoing) = 32),
    in_peer   bytea  NOT NULL,
    out_peer  bytea  NOT NULL,
    body      text   NOT NULL,
    PRIMARY KEY (owner, incoming),
    UNIQUE (owner, outgoing),
    FOREIGN KEY (owner, in_peer) REFERENCES agent_pairs ON DELETE CASCADE,
    FOREIGN KEY (owner, out_peer) REFERENCES agent_pairs ON DELETE CASCADE
);
