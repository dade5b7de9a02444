-- What a page or an app proposed, and the user's word on it. A row is written before anything is done.
CREATE TABLE proposal (
    id        TEXT PRIMARY KEY NOT NULL,
    -- The plugin that holds it: its key.
    plugin    TEXT NOT NULL,
    -- What is proposed, JSON.
    wish      TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('seen', 'accepted', 'declined', 'done', 'failed')),
    -- Whether the plugin knows that.
    told      INTEGER NOT NULL CHECK (told IN (0, 1)),
    -- What it cost beyond the amount, in minor units.
    fee       INTEGER NOT NULL DEFAULT 0 CHECK (fee >= 0),
    -- The most that it may cost, if the user said so.
    max_fee   INTEGER CHECK (max_fee >= 0),
    reason    TEXT,
    -- When it was first seen, or when the user decided, Unix milliseconds.
    at        INTEGER NOT NULL
);
CREATE INDEX proposal_open ON proposal (at) WHERE state = 'accepted' OR told = 0;
