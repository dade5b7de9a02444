-- A mark that also lies in the plugin's data directory: if that is ahead, this database was restored from a backup, and its books must
-- not be signed any more.

CREATE TABLE agent_mark (
    one         boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    generation  bigint  NOT NULL CHECK (generation >= 0)
);
INSERT INTO agent_mark (generation) VALUES (0);

-- Books of a restored database: kept again once they are handed over in a later epoch.
ALTER TABLE agent_pairs ADD COLUMN restored boolean NOT NULL DEFAULT false;
