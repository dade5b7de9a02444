-- An agent at a plugin that keeps books for this user.
-- Times are Unix milliseconds, users are keys in z-base-32.

-- The agent. There is one or none.
CREATE TABLE agent (
    id         INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    -- The plugin, as KEY or KEY@URL.
    plugin     TEXT NOT NULL,
    -- The key with which it signs.
    key        TEXT NOT NULL,
    -- When it ends by itself.
    until      INTEGER NOT NULL,
    -- The root's word for the key, and its grant to write channel files.
    delegation TEXT NOT NULL,
    storage    TEXT NOT NULL,
    -- 1: the plugin has not been told of the above, or of what it may rely on, yet.
    stale      INTEGER NOT NULL DEFAULT 1 CHECK (stale IN (0, 1)),
    -- Up to where its events and its signatures were read.
    event      INTEGER NOT NULL DEFAULT 0,
    signature  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The books that are with the agent, or on their way to it. What the table `pair` holds of them is a copy: this wallet signs nothing
-- for them.
CREATE TABLE agent_pair (
    user    TEXT PRIMARY KEY NOT NULL,
    -- `wanted`: they are still kept here. `handing`: their book names the agent. `kept`: the agent has said that it keeps them.
    stage   TEXT NOT NULL CHECK (stage IN ('wanted', 'handing', 'kept')),
    -- What the copy shows, as the agent counts.
    version TEXT NOT NULL DEFAULT '',
    -- 1: the agent does not know the newest limits.
    stale   INTEGER NOT NULL DEFAULT 0 CHECK (stale IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX history_promised ON history (reference) WHERE kind = 'promised';
