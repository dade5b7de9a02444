-- Requests that recur and that agents pay while their users are away. Times are Unix milliseconds, keys and hashes 32 raw bytes, amounts
-- minor units.

CREATE TABLE agent_approvals (
    owner       bytea  NOT NULL REFERENCES agents ON DELETE CASCADE,
    -- The request's hash, who is paid by it, and what they signed.
    request     bytea  NOT NULL CHECK (octet_length(request) = 32),
    payee       bytea  NOT NULL CHECK (octet_length(payee) = 32 AND payee <> owner),
    record      text   NOT NULL CHECK (length(record) <= 65536),
    -- The most that one turn may cost, and from when on nothing is paid.
    up_to       bigint NOT NULL CHECK (up_to > 0),
    until       bigint CHECK (until >= 0),
    first_turn  bigint NOT NULL CHECK (first_turn BETWEEN 0 AND 4294967295),
    status      text   NOT NULL CHECK (status IN ('active', 'ended')),
    -- Why the last try came to nothing, or why it has ended: a code.
    why         text CHECK (length(why) <= 64),
    -- When it is looked at next, and how often something failed since it last went on.
    next_at     bigint NOT NULL CHECK (next_at >= 0),
    tries       bigint NOT NULL CHECK (tries >= 0),
    created_at  bigint NOT NULL CHECK (created_at >= 0),
    ended_at    bigint,
    PRIMARY KEY (owner, request),
    CHECK ((status = 'ended') = (ended_at IS NOT NULL))
);
CREATE INDEX agent_approvals_due ON agent_approvals (next_at) WHERE status = 'active';
CREATE INDEX agent_approvals_ended ON agent_approvals (ended_at) WHERE status = 'ended';

-- What was asked for, and what became of it.
CREATE TABLE agent_turns (
    owner       bytea  NOT NULL,
    request     bytea  NOT NULL,
    turn        bigint NOT NULL CHECK (turn BETWEEN 0 AND 4294967295),
    attempt     bigint NOT NULL CHECK (attempt BETWEEN 0 AND 4294967295),
    -- The part: its name, what was signed, and the hash of that.
    id          text   NOT NULL CHECK (length(id) = 22),
    record      text   NOT NULL CHECK (length(record) <= 65536),
    hash        bytea  NOT NULL CHECK (octet_length(hash) = 32),
    amount      bigint NOT NULL CHECK (amount > 0),
    state       text   NOT NULL CHECK (state IN ('asked', 'granted', 'paid', 'refused', 'ended')),
    -- What the payee answered.
    answer      text CHECK (length(answer) <= 65536),
    -- Until when it is granted.
    until       bigint,
    -- The payment, if the agent made one: else the payee says that it was paid.
    payment     bytea CHECK (octet_length(payment) = 32),
    reason      text CHECK (length(reason) <= 64),
    asked_at    bigint NOT NULL CHECK (asked_at >= 0),
    ended_at    bigint,
    PRIMARY KEY (owner, request, turn, attempt),
    FOREIGN KEY (owner, request) REFERENCES agent_approvals ON DELETE CASCADE,
    CHECK ((state IN ('asked', 'granted')) = (ended_at IS NULL)),
    CHECK (payment IS NULL OR state = 'paid'),
    CHECK (state <> 'granted' OR until IS NOT NULL)
);
-- A turn is paid once, and one thing is asked for at a time.
CREATE UNIQUE INDEX agent_turns_paid ON agent_turns (owner, request, turn) WHERE state = 'paid';
CREATE UNIQUE INDEX agent_turns_open ON agent_turns (owner, request) WHERE ended_at IS NULL;
CREATE INDEX agent_turns_asked ON agent_turns (owner, hash) WHERE state = 'asked';
