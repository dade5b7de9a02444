-- What a user's wallet told last of what waits and what there was, as it signed it, for the user's own page.
CREATE TABLE diaries (
    owner      bytea   NOT NULL PRIMARY KEY REFERENCES accounts ON DELETE CASCADE CHECK (octet_length(owner) = 32),
    at         bigint  NOT NULL CHECK (at >= 0),
    stored_at  bigint  NOT NULL CHECK (stored_at >= 0),
    jws        text    NOT NULL CHECK (length(jws) BETWEEN 1 AND 65536)
);
