-- Services of plugins that this wallet knows: routers, logs, cosigners, watchtowers; and what people think of them.
-- Keys are in z-base-32, times are Unix milliseconds.

CREATE TABLE service (
    key        TEXT PRIMARY KEY NOT NULL,
    -- 'named' or 'blocked' by the user; NULL: found.
    stance     TEXT CHECK (stance IN ('named', 'blocked')),
    -- Where it last proved its key. Information only: it is reached by its key.
    address    TEXT,
    version    TEXT NOT NULL DEFAULT '',
    -- When it last proved its key.
    proven_at  INTEGER,
    -- How long its last answer took.
    latency_ms INTEGER CHECK (latency_ms >= 0),
    successes  INTEGER NOT NULL DEFAULT 0 CHECK (successes >= 0),
    failures   INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failed_at  INTEGER,
    added_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What each said that it offers, when it last proved its key.
CREATE TABLE service_role (
    key         TEXT NOT NULL REFERENCES service (key) ON DELETE CASCADE,
    role        TEXT NOT NULL CHECK (role IN ('router', 'witness_log', 'cosigner', 'watchtower')),
    -- Its description, JSON.
    description TEXT NOT NULL,
    PRIMARY KEY (key, role)
) STRICT, WITHOUT ROWID;

-- When providers of a role were last looked for.
CREATE TABLE service_search (
    role        TEXT PRIMARY KEY NOT NULL CHECK (role IN ('router', 'witness_log', 'cosigner', 'watchtower')),
    searched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Ratings that verified: the user's own, and those of people whose judgement counts.
CREATE TABLE rating (
    author  TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind    TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('good', 'poor', 'block')),
    memo    TEXT,
    serial  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    record  TEXT NOT NULL,
    PRIMARY KEY (author, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX rating_subject ON rating (subject);

-- Whose ratings are read, and when they were.
CREATE TABLE rater (
    author  TEXT PRIMARY KEY NOT NULL,
    read_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whom friends follow.
CREATE TABLE follow (
    friend TEXT NOT NULL,
    user   TEXT NOT NULL,
    PRIMARY KEY (friend, user)
) STRICT, WITHOUT ROWID;
