-- Rules about many, what they gave, and what is known about the people whom they may be about.
-- Amounts are whole minor units, times are Unix milliseconds, users are keys in z-base-32.

-- In the order in which they are asked. A number is never used twice: what a rule gave bears it.
CREATE TABLE policy_rule (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    position INTEGER NOT NULL,
    -- What it says, JSON of the ledger.
    body     TEXT NOT NULL
) STRICT;

CREATE TABLE blocked (
    user TEXT PRIMARY KEY NOT NULL,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a rule gave somebody. It stays after the line was closed until nothing is owed.
CREATE TABLE granted (
    user       TEXT NOT NULL,
    unit       TEXT NOT NULL,
    rule       INTEGER NOT NULL,
    -- The friend who is charged, where it was given on the word of one.
    introducer TEXT,
    line       INTEGER NOT NULL CHECK (line >= 0),
    since      INTEGER NOT NULL,
    PRIMARY KEY (user, unit)
) STRICT, WITHOUT ROWID;

-- Friends whom a rule let in. Their word counts for nobody else.
CREATE TABLE let_in (
    user TEXT PRIMARY KEY NOT NULL,
    rule INTEGER NOT NULL,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- When somebody was last looked at for the rules, and how often.
CREATE TABLE looked_at (
    user  TEXT PRIMARY KEY NOT NULL,
    at    INTEGER NOT NULL,
    looks INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a friend was found to say about somebody, signed and verified: 1 if it is good.
CREATE TABLE vouch (
    friend     TEXT NOT NULL,
    user       TEXT NOT NULL,
    good       INTEGER NOT NULL CHECK (good IN (0, 1)),
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (friend, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX vouch_user ON vouch (user);

-- The user's own tags, by the name of their file. NULL: not about a person.
CREATE TABLE own_tag (
    id    TEXT PRIMARY KEY NOT NULL,
    user  TEXT,
    label TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX own_tag_user ON own_tag (user);

-- Whose follows were read for the rules, and when.
CREATE TABLE follows_read (
    user    TEXT PRIMARY KEY NOT NULL,
    read_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
