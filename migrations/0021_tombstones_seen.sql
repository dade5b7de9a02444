-- Tombstones that cosigners were seen to have signed: what they promised, held against what they cosign.
CREATE TABLE tombstones_seen (
    log       bytea  NOT NULL REFERENCES mirrors,
    -- The cosigner's Ed25519 key.
    cosigner  bytea  NOT NULL CHECK (octet_length(cosigner) = 32),
    -- The smallest that was seen: it promises the most.
    size      bigint NOT NULL CHECK (size >= 0),
    note      text   NOT NULL CHECK (octet_length(note) <= 65536),
    seen_at   bigint NOT NULL CHECK (seen_at >= 0),
    PRIMARY KEY (log, cosigner)
);
