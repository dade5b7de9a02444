-- Logs of preimages that this plugin runs. Sizes and indexes count entries, times are Unix milliseconds of the log's clock.
-- The log's Ed25519 key leads every primary key.

CREATE TABLE logs (
    log             bytea   NOT NULL PRIMARY KEY CHECK (octet_length(log) = 32),
    -- The name in its checkpoints, for good.
    origin          text    NOT NULL UNIQUE CHECK (octet_length(origin) BETWEEN 1 AND 255),
    created_at      bigint  NOT NULL CHECK (created_at >= 0),
    -- The head: everything that was sequenced. Moved by compare-and-swap, in the transaction that stores the entries.
    size            bigint  NOT NULL DEFAULT 0 CHECK (size >= 0),
    root            bytea   NOT NULL CHECK (octet_length(root) = 32),
    last_time_ms    bigint  CHECK (last_time_ms > 0),
    -- The newest checkpoint that a quorum cosigned, as it is served.
    published_size  bigint  NOT NULL DEFAULT 0 CHECK (published_size BETWEEN 0 AND size),
    checkpoint      text    CHECK (length(checkpoint) BETWEEN 1 AND 1000000),
    CHECK ((size = 0) = (last_time_ms IS NULL)),
    CHECK ((published_size = 0) = (checkpoint IS NULL))
) WITH (fillfactor = 50);

-- Tiles of hashes and bundles of entries, each in its widest form: a narrower one is the beginning of it.
CREATE TABLE log_tiles (
    log     bytea     NOT NULL REFERENCES logs CHECK (octet_length(log) = 32),
    -- 0 to 7 for hashes, -1 for entries.
    level   smallint  NOT NULL CHECK (level BETWEEN -1 AND 7),
    index   bigint    NOT NULL CHECK (index >= 0),
    width   smallint  NOT NULL CHECK (width BETWEEN 1 AND 256),
    bytes   bytea     NOT NULL,
    PRIMARY KEY (log, level, index),
    -- Hashes of 32 bytes; entries of 9 or 41 bytes, each with its length in two.
    CHECK (CASE WHEN level = -1 THEN octet_length(bytes) BETWEEN 11 * width AND 43 * width
                ELSE octet_length(bytes) = 32 * width END)
);
-- Hashes don't compress.
ALTER TABLE log_tiles ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Where each preimage stands: what answers a repeated publication, and hints.
CREATE TABLE log_preimages (
    log      bytea   NOT NULL REFERENCES logs CHECK (octet_length(log) = 32),
    -- SHA-256 of the preimage.
    hash     bytea   NOT NULL CHECK (octet_length(hash) = 32),
    index    bigint  NOT NULL CHECK (index >= 0),
    time_ms  bigint  NOT NULL CHECK (time_ms > 0),
    PRIMARY KEY (log, hash, index)
);

-- A log only grows, whoever writes.
CREATE FUNCTION log_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.log <> OLD.log OR NEW.origin <> OLD.origin OR NEW.size < OLD.size OR NEW.published_size < OLD.published_size
       OR (NEW.size = OLD.size AND NEW.root <> OLD.root) OR NEW.last_time_ms < OLD.last_time_ms THEN
        RAISE EXCEPTION 'a log only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_grows BEFORE UPDATE ON logs FOR EACH ROW EXECUTE FUNCTION log_only_grows();

CREATE FUNCTION log_tile_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.width < OLD.width OR substring(NEW.bytes FROM 1 FOR octet_length(OLD.bytes)) <> OLD.bytes THEN
        RAISE EXCEPTION 'a tile only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_grows BEFORE UPDATE ON log_tiles FOR EACH ROW EXECUTE FUNCTION log_tile_only_grows();
