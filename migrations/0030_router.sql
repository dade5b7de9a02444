-- What the router knows of other people's published channels. All of it can be had again from their homeservers; it is kept so that
-- a restart answers at once.

-- Homeservers, and how they behaved.
CREATE TABLE router_home (
    home      bytea   NOT NULL PRIMARY KEY CHECK (octet_length(home) = 32),
    failures  integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    -- Nothing is asked of it before this time.
    next_at   bigint NOT NULL DEFAULT 0 CHECK (next_at >= 0)
);

CREATE TABLE router_user (
    owner           bytea   NOT NULL PRIMARY KEY CHECK (octet_length(owner) = 32),
    home            bytea   NOT NULL CHECK (octet_length(home) = 32),
    -- When the network last said that this is the home.
    home_at         bigint  NOT NULL CHECK (home_at >= 0),
    next_at         bigint  NOT NULL CHECK (next_at >= 0),
    failures        integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    visited_at      bigint  CHECK (visited_at >= 0),
    -- The last event of theirs that was seen, as their homeserver numbers them.
    cursor          bigint  CHECK (cursor >= 0),
    profile         text    CHECK (octet_length(profile) <= 65536),
    profile_serial  bigint  CHECK (profile_serial >= 0),
    profile_etag    text    CHECK (octet_length(profile_etag) <= 200),
    CHECK ((profile IS NULL) = (profile_serial IS NULL))
);

-- The newest advertisement of `owner` about `peer`. What was taken back stays as long as it could come again, so that an older one
-- does not take its place.
CREATE TABLE router_advert (
    owner       bytea    NOT NULL REFERENCES router_user ON DELETE CASCADE,
    peer        bytea    NOT NULL CHECK (octet_length(peer) = 32 AND peer <> owner),
    serial      bigint   NOT NULL CHECK (serial >= 0),
    signer      bytea    NOT NULL CHECK (octet_length(signer) = 32),
    -- The earlier of the end of the advertisement and of the authority of the key that signed it.
    expires     bigint   NOT NULL CHECK (expires >= 0),
    jws         text     NOT NULL CHECK (octet_length(jws) <= 65536),
    etag        text     CHECK (octet_length(etag) <= 200),
    -- How often in a row it was not there any more.
    missing     smallint NOT NULL DEFAULT 0 CHECK (missing >= 0),
    withdrawn   boolean  NOT NULL DEFAULT false,
    fetched_at  bigint   NOT NULL CHECK (fetched_at >= 0),
    PRIMARY KEY (owner, peer)
);
CREATE INDEX router_advert_by_expiry ON router_advert (expires);

-- What is known of the authority of the keys that sign for a user.
CREATE TABLE router_key (
    owner       bytea  NOT NULL REFERENCES router_user ON DELETE CASCADE,
    signer      bytea  NOT NULL CHECK (octet_length(signer) = 32),
    -- Delegation or grant.
    authority   text   CHECK (octet_length(authority) <= 65536),
    revocation  text   CHECK (octet_length(revocation) <= 65536),
    etag        text   CHECK (octet_length(etag) <= 200),
    checked_at  bigint NOT NULL CHECK (checked_at >= 0),
    PRIMARY KEY (owner, signer)
);

-- What users say of services and of each other.
CREATE TABLE router_rating (
    owner    bytea  NOT NULL REFERENCES router_user ON DELETE CASCADE,
    subject  bytea  NOT NULL CHECK (octet_length(subject) = 32),
    kind     text   NOT NULL CHECK (octet_length(kind) <= 32),
    verdict  text   NOT NULL CHECK (octet_length(verdict) <= 32),
    serial   bigint NOT NULL CHECK (serial >= 0),
    jws      text   NOT NULL CHECK (octet_length(jws) <= 65536),
    etag     text   CHECK (octet_length(etag) <= 200),
    PRIMARY KEY (owner, subject)
);
CREATE INDEX router_rating_by_subject ON router_rating (subject, owner);
