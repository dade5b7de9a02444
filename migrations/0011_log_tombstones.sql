-- What cosigners of our logs promised when they saw one silent for too long: never to cosign a larger tree.
CREATE TABLE log_tombstones (
    log       bytea   NOT NULL REFERENCES logs CHECK (octet_length(log) = 32),
    cosigner  bytea   NOT NULL CHECK (octet_length(cosigner) = 32),
    size      bigint  NOT NULL CHECK (size >= 0),
    -- The signed note.
    note      text    NOT NULL CHECK (length(note) BETWEEN 1 AND 10000),
    PRIMARY KEY (log, cosigner)
);
