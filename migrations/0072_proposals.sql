-- What a user's page or apps propose to the user's own wallet, and what became of it. The wallet decides; nothing is signed here.
CREATE TABLE proposals (
    owner       bytea   NOT NULL REFERENCES accounts ON DELETE CASCADE CHECK (octet_length(owner) = 32),
    id          text    NOT NULL CHECK (length(id) = 22),
    at          bigint  NOT NULL CHECK (at >= 0),
    -- From then on it can't be accepted any more.
    expires     bigint  NOT NULL CHECK (expires > at),
    digest      bytea   NOT NULL CHECK (octet_length(digest) = 32),
    -- What is proposed, JSON.
    body        text    NOT NULL CHECK (length(body) BETWEEN 1 AND 73728),
    state       text    NOT NULL CHECK (state IN ('open', 'accepted', 'declined', 'withdrawn', 'done', 'failed')),
    -- What the wallet said of it, JSON.
    told        text CHECK (length(told) <= 4096),
    changed_at  bigint  NOT NULL CHECK (changed_at >= at),
    PRIMARY KEY (owner, id)
);
CREATE INDEX proposals_by_age ON proposals (changed_at);
