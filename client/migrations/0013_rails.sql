-- Paying by other rails than Lightning: their order and bounds, what people and drafts of transactions have to remember, and what is
-- confirmed without asking.

-- The one with the least position is tried first.
ALTER TABLE rail ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
-- The least and the most that is paid by it, decimals of the asset's major unit.
ALTER TABLE rail ADD COLUMN least TEXT;
ALTER TABLE rail ADD COLUMN most TEXT;
UPDATE rail SET position = (SELECT count(*) FROM rail AS other WHERE (other.added_at, other.name) < (rail.added_at, rail.name));

-- Whether the sources of rates in the settings say what is worth how much.
ALTER TABLE settle_rule ADD COLUMN by_source INTEGER NOT NULL DEFAULT 0 CHECK (by_source IN (0, 1));
-- The most that the rule lets go within 24 hours.
ALTER TABLE settle_rule ADD COLUMN per_day INTEGER CHECK (per_day > 0);

-- What rules let go: it counts until a day has passed, unless it ended unpaid.
CREATE TABLE auto_spend (
    settlement TEXT PRIMARY KEY NOT NULL,
    -- As in settle_rule.
    rule       TEXT NOT NULL,
    unit       TEXT NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX auto_spend_day ON auto_spend (rule, unit, at);

-- Whether the holder's books said that it was paid before the rail did.
ALTER TABLE discharge ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0 CHECK (confirmed IN (0, 1));

-- What is to be paid by hand, and what was said of it. The payer's word is never changed.
CREATE TABLE hand_order (
    id       TEXT PRIMARY KEY NOT NULL,
    target   TEXT NOT NULL,
    amount   INTEGER NOT NULL,
    unit     TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    -- `paid` or `not_paid`, and the words.
    payer    TEXT CHECK (payer IN ('paid', 'not_paid')),
    words    TEXT,
    -- What the other side's books said, if they did.
    received TEXT
) STRICT, WITHOUT ROWID;

-- Transactions that may have been sent: one for each payment, for ever.
CREATE TABLE chain_draft (
    id   TEXT PRIMARY KEY NOT NULL,
    body TEXT NOT NULL,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whose word is enough that they have paid.
CREATE TABLE confirm_rule (
    -- Empty: whoever has no rule of their own.
    user  TEXT NOT NULL,
    unit  TEXT NOT NULL,
    up_to INTEGER NOT NULL CHECK (up_to > 0),
    PRIMARY KEY (user, unit)
) STRICT, WITHOUT ROWID;

-- Outputs of transactions that have paid something: each pays one request.
CREATE TABLE used_output (
    output     TEXT PRIMARY KEY NOT NULL,
    settlement TEXT NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;
