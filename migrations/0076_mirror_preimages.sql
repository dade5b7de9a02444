-- Where each preimage stands in the logs of others that are mirrored: what answers look-ups by hash in the explorer. It is filled behind the
-- mirror, a bounded piece at a time, also with what was mirrored before there was this table.
CREATE TABLE mirror_preimages (
    log   bytea  NOT NULL REFERENCES mirrors,
    -- SHA-256 of the preimage.
    hash  bytea  NOT NULL CHECK (octet_length(hash) = 32),
    idx   bigint NOT NULL CHECK (idx >= 0),
    PRIMARY KEY (log, hash, idx)
);

-- Before which entry that is done. No column of `mirrors`: who is about to cosign must not lose a race because of it.
CREATE TABLE mirror_indexed (
    log   bytea  NOT NULL PRIMARY KEY REFERENCES mirrors,
    size  bigint NOT NULL CHECK (size >= 0)
);
