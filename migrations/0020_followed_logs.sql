-- Logs of others that this plugin follows, as cosigner or as watchtower.

-- Keys that this database has cosigned with. A key may only be used with the database that remembers what was signed with it.
CREATE TABLE cosigner_keys (
    key         bytea  NOT NULL PRIMARY KEY CHECK (octet_length(key) = 32),
    name        text   NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 255),
    created_at  bigint NOT NULL CHECK (created_at >= 0)
);

CREATE TABLE mirrors (
    -- SHA-256 of the origin.
    log              bytea  NOT NULL PRIMARY KEY CHECK (log = sha256(convert_to(origin, 'UTF8'))),
    origin           text   NOT NULL,
    -- The log's key, as in checkpoints.
    vkey             text   NOT NULL,
    -- Raised by every change: who writes says which version they read.
    version          bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    -- The newest tree that was accepted: its size, the time of its newest entry, and everything needed to go on from there.
    size             bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
    newest_ms        bigint CHECK (newest_ms >= 0),
    state            bytea  NOT NULL,
    -- The signed checkpoint of that tree.
    head             text CHECK (head IS NOT NULL OR size = 0),
    -- The newest checkpoint that the log published, with the cosignatures it bore.
    published        text,
    published_size   bigint NOT NULL DEFAULT 0 CHECK (published_size BETWEEN 0 AND size),
    -- Our own promises: the largest tree that was cosigned, and the tombstone beyond which none is.
    cosigned_size    bigint NOT NULL DEFAULT 0 CHECK (cosigned_size BETWEEN 0 AND size),
    tombstone        text,
    tombstone_size   bigint CHECK (tombstone_size >= size),
    CHECK ((tombstone IS NULL) = (tombstone_size IS NULL))
);

-- A promise is not taken back, whoever writes.
CREATE FUNCTION mirrors_keep_promises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size < OLD.size OR NEW.cosigned_size < OLD.cosigned_size OR NEW.version <= OLD.version
       OR NEW.vkey <> OLD.vkey OR NEW.newest_ms < OLD.newest_ms
       OR (OLD.tombstone IS NOT NULL AND NEW.tombstone IS DISTINCT FROM OLD.tombstone) THEN
        RAISE EXCEPTION 'what is known of a log never shrinks' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER mirrors_keep_promises BEFORE UPDATE ON mirrors
    FOR EACH ROW EXECUTE FUNCTION mirrors_keep_promises();

-- Tiles (level 0 to 7) and bundles of entries (level -1). What lies beyond a mirror's size is not verified yet and is not served.
CREATE TABLE mirror_tiles (
    log     bytea    NOT NULL REFERENCES mirrors,
    level   smallint NOT NULL CHECK (level BETWEEN -1 AND 7),
    idx     bigint   NOT NULL CHECK (idx >= 0),
    width   smallint NOT NULL CHECK (width BETWEEN 1 AND 256),
    bytes   bytea    NOT NULL CHECK (level < 0 OR octet_length(bytes) = 32 * width),
    PRIMARY KEY (log, level, idx)
);
-- Hashes don't compress.
ALTER TABLE mirror_tiles ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Proofs that a log or a cosigner lied.
CREATE TABLE fork_proofs (
    log       bytea  NOT NULL CHECK (octet_length(log) = 32),
    id        bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    origin    text   NOT NULL,
    culprit   text   NOT NULL,
    role      text   NOT NULL CHECK (role IN ('log', 'cosigner')),
    what      text   NOT NULL,
    via       text   NOT NULL CHECK (via IN ('own', 'client', 'peer')),
    found_at  bigint NOT NULL CHECK (found_at >= 0),
    digest    bytea  NOT NULL CHECK (digest = sha256(proof)),
    proof     bytea  NOT NULL CHECK (octet_length(proof) BETWEEN 1 AND 524288),
    PRIMARY KEY (log, id),
    UNIQUE (log, digest)
);
CREATE INDEX fork_proofs_by_culprit ON fork_proofs (culprit, id);

-- Checkpoints signed by a log that somebody was shown and that its mirror could not be compared with yet.
CREATE TABLE doubtful_checkpoints (
    log      bytea  NOT NULL REFERENCES mirrors,
    size     bigint NOT NULL CHECK (size > 0),
    digest   bytea  NOT NULL CHECK (digest = sha256(convert_to(note, 'UTF8'))),
    note     text   NOT NULL CHECK (octet_length(note) <= 65536),
    seen_at  bigint NOT NULL CHECK (seen_at >= 0),
    PRIMARY KEY (log, size, digest)
);
