-- Books that come home from the agent for a while: to settle a debt, say. Then they are handed over again.
CREATE TABLE agent_pair_next (
    user       TEXT PRIMARY KEY NOT NULL,
    -- `wanted`: they are kept here. `handing`: their book names the agent. `kept`: the agent has said that it keeps them.
    -- `returning`: they are to come home, and may have been signed over already.
    stage      TEXT NOT NULL CHECK (stage IN ('wanted', 'handing', 'kept', 'returning')),
    -- What the copy shows, as the agent counts.
    version    TEXT NOT NULL DEFAULT '',
    -- 1: the agent does not know the newest limits.
    stale      INTEGER NOT NULL DEFAULT 0 CHECK (stale IN (0, 1)),
    -- Until when they are not handed over again, Unix milliseconds.
    home_until INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

INSERT INTO agent_pair_next (user, stage, version, stale) SELECT user, stage, version, stale FROM agent_pair;
DROP TABLE agent_pair;
ALTER TABLE agent_pair_next RENAME TO agent_pair;
