-- What programs asked this wallet to do once, each under a key that they chose. Times are Unix milliseconds.

CREATE TABLE operation (
    key        TEXT PRIMARY KEY NOT NULL CHECK (length(key) BETWEEN 1 AND 64),
    -- What was asked for, as a hash: the same key never means anything else.
    asked      BLOB NOT NULL CHECK (length(asked) = 32),
    -- What came of it, and its name: written by the transaction that signs it.
    kind       TEXT CHECK (kind IN ('given', 'ordered', 'payment', 'part', 'settlement', 'invoice', 'request', 'received')),
    made       TEXT,
    -- The last answer (JSON), and whether it was an error: only an answer that was none is the last word.
    answer     TEXT,
    failed     INTEGER NOT NULL DEFAULT 0 CHECK (failed IN (0, 1)),
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    CHECK ((kind IS NULL) = (made IS NULL)),
    CHECK ((answer IS NULL) = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX operation_by_age ON operation (created_at);
