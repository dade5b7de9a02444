-- Parts of requests that guests pay: people without a wallet, over Lightning or on the chain. A row is written before a node is asked for a
-- place to pay at. Amounts are whole minor units of the request, times are Unix milliseconds.
CREATE TABLE guest (
    id         TEXT PRIMARY KEY NOT NULL,
    request    TEXT NOT NULL,
    -- The plugin whose page the guest looks at: its key.
    plugin     TEXT NOT NULL,
    -- What the guest calls themselves.
    name       TEXT,
    way        TEXT NOT NULL CHECK (way IN ('lightning', 'onchain')),
    rail       TEXT NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    stage      TEXT NOT NULL CHECK (stage IN ('kept', 'offered', 'seen', 'paid', 'ended')),
    -- What the plugin was told last.
    told       TEXT CHECK (told IN ('offered', 'seen', 'paid', 'ended')),
    -- The payment hash of the invoice, or the address.
    place      TEXT UNIQUE,
    -- The invoice itself.
    invoice    TEXT,
    -- The block of the chain before which nothing came to the address.
    since      INTEGER NOT NULL DEFAULT 0,
    -- What it costs there, in millisatoshis.
    price      INTEGER CHECK (price > 0),
    -- Until when it can be paid.
    until      INTEGER,
    -- Why it is not to be paid any more: a code.
    reason     TEXT,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    CHECK ((place IS NULL) = (price IS NULL)),
    CHECK ((place IS NULL) = (until IS NULL)),
    CHECK (stage NOT IN ('offered', 'seen', 'paid') OR place IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX guest_request ON guest (request, created_at);
CREATE INDEX guest_open ON guest (created_at) WHERE stage IN ('kept', 'offered', 'seen');
CREATE INDEX guest_untold ON guest (created_at) WHERE stage <> 'kept' AND (told IS NULL OR told <> stage);
