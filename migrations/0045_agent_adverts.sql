-- What agents publish about the channels whose books they keep. Times are Unix milliseconds.

CREATE TABLE agent_adverts (
    owner       bytea   NOT NULL,
    peer        bytea   NOT NULL,
    serial      bigint  NOT NULL CHECK (serial >= 0),
    -- What it says; empty if there is nothing to say.
    body        text    NOT NULL,
    -- What was signed, in compact form; empty if the file is to be removed.
    record      text    NOT NULL CHECK (length(record) <= 65536),
    -- The version of the books that it was compared with.
    version     bigint  NOT NULL,
    -- Whether the homeserver has it.
    shown       boolean NOT NULL,
    written_at  bigint  NOT NULL,
    expires_at  bigint  NOT NULL,
    PRIMARY KEY (owner, peer),
    FOREIGN KEY (owner, peer) REFERENCES agent_pairs ON DELETE CASCADE
);
