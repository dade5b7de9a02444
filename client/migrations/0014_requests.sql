-- Requests to be paid: what this user asks for and who pays it, what others ask for and this user pays, rules that call debts.
-- Amounts are whole minor units, times are Unix milliseconds, users are keys in z-base-32, hashes in base64url.

-- What this user asks for.
CREATE TABLE request (
    id         TEXT PRIMARY KEY NOT NULL,
    -- The hash of the signed request.
    hash       TEXT NOT NULL UNIQUE,
    -- The signed request.
    record     TEXT NOT NULL,
    -- How far it is filled, JSON of the ledger.
    fills      TEXT NOT NULL,
    -- The newest state that was signed.
    state      TEXT NOT NULL,
    -- How long a part is kept for who asked for it.
    hold_ms    INTEGER NOT NULL CHECK (hold_ms > 0),
    -- Whether it calls a debt in.
    is_call    INTEGER NOT NULL CHECK (is_call IN (0, 1)),
    -- Nothing can come of it any more.
    over       INTEGER NOT NULL CHECK (over IN (0, 1)),
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX request_open ON request (created_at) WHERE over = 0;

-- Parts that were granted to who wants to pay them.
CREATE TABLE part (
    request    TEXT NOT NULL,
    id         TEXT NOT NULL,
    -- The signed part.
    record     TEXT NOT NULL,
    user       TEXT NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    -- The invoice that is made for it.
    invoice    TEXT UNIQUE,
    -- What the payer was told; none while the invoice is being made.
    answer     TEXT,
    -- Until then it is kept.
    until      INTEGER,
    stage      TEXT NOT NULL CHECK (stage IN ('reserved', 'paid', 'ended')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (request, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX part_reserved ON part (until) WHERE stage = 'reserved';
CREATE INDEX part_id ON part (id);

-- What came another way, noted by hand.
CREATE TABLE receipt (
    id         TEXT PRIMARY KEY NOT NULL,
    request    TEXT NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    way        TEXT NOT NULL,
    payer      TEXT,
    at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX receipt_request ON receipt (request, at);

-- What others ask for.
CREATE TABLE asked (
    -- The hash of the signed request.
    hash       TEXT PRIMARY KEY NOT NULL,
    id         TEXT NOT NULL,
    payee      TEXT NOT NULL,
    record     TEXT NOT NULL,
    -- The payee's newest word about it.
    state      TEXT,
    -- Whether the payee sent it; else the user found it.
    was_sent   INTEGER NOT NULL CHECK (was_sent IN (0, 1)),
    seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX asked_id ON asked (id);
CREATE INDEX asked_payee ON asked (payee);

-- Parts of them that this user pays.
CREATE TABLE paying (
    id         TEXT PRIMARY KEY NOT NULL,
    -- The request's hash.
    request    TEXT NOT NULL,
    -- The signed part.
    record     TEXT NOT NULL,
    payee      TEXT NOT NULL,
    turn       INTEGER,
    -- What was granted; what was asked for before.
    amount     INTEGER NOT NULL CHECK (amount > 0),
    stage      TEXT NOT NULL CHECK (stage IN ('asked', 'granted', 'paid', 'refused', 'ended')),
    -- Until then the grant stands.
    until      INTEGER,
    -- What is to be paid: the signed invoice; none if the payee is a friend who is paid directly.
    invoice    TEXT,
    reason     TEXT,
    -- Whether the wallet pays it without being asked again.
    by_itself  INTEGER NOT NULL CHECK (by_itself IN (0, 1)),
    next_at    INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Each turn of what recurs is paid once: a second try only when nothing can come of the first any more.
CREATE UNIQUE INDEX paying_turn ON paying (request, turn) WHERE turn IS NOT NULL AND stage NOT IN ('refused', 'ended');
CREATE INDEX paying_open ON paying (next_at) WHERE stage IN ('asked', 'granted');

-- Requests that recur and are paid without asking.
CREATE TABLE approval (
    -- The request's hash.
    request    TEXT PRIMARY KEY NOT NULL,
    -- The most that one turn may cost, fees included.
    up_to      INTEGER NOT NULL CHECK (up_to > 0),
    -- From then on nothing is paid.
    until      INTEGER,
    -- The first turn that is paid.
    first_turn INTEGER NOT NULL,
    -- When it is looked at again.
    next_at    INTEGER NOT NULL,
    -- Why the last turn was not paid: a code.
    why        TEXT,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Records about requests, on their way to whom they are for, or to be read.
CREATE TABLE letter (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    incoming   INTEGER NOT NULL CHECK (incoming IN (0, 1)),
    -- Who is to get it, or who sent it.
    user       TEXT NOT NULL,
    -- JSON list.
    records    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    tries      INTEGER NOT NULL
) STRICT;

CREATE INDEX letter_due ON letter (incoming, next_at);

-- Since when a friend owes this user something.
CREATE TABLE debt (
    user       TEXT NOT NULL,
    unit       TEXT NOT NULL,
    since      INTEGER NOT NULL,
    PRIMARY KEY (user, unit)
) STRICT, WITHOUT ROWID;

-- When debts are called in.
CREATE TABLE call_rule (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    -- One friend, or those with a tag, or all.
    user       TEXT,
    tag        TEXT,
    -- More than this is owed, in this unit; or for longer than this.
    unit       TEXT,
    over       INTEGER CHECK (over >= 0),
    after_ms   INTEGER CHECK (after_ms > 0),
    -- Other ways to pay, JSON list.
    targets    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CHECK ((over IS NULL) != (after_ms IS NULL)),
    CHECK (over IS NULL OR unit IS NOT NULL)
) STRICT;

-- Debts that were called in, until they are settled.
CREATE TABLE called (
    user       TEXT NOT NULL,
    unit       TEXT NOT NULL,
    -- The request.
    request    TEXT NOT NULL UNIQUE,
    at         INTEGER NOT NULL,
    PRIMARY KEY (user, unit)
) STRICT, WITHOUT ROWID;
