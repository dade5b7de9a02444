-- By which ways a user's wallet takes what guests without an account pay, and in which units.
CREATE TABLE guest_ways (
    owner  bytea NOT NULL REFERENCES accounts ON DELETE CASCADE CHECK (octet_length(owner) = 32),
    way    text  NOT NULL CHECK (way IN ('lightning', 'onchain')),
    unit   text  NOT NULL CHECK (length(unit) BETWEEN 1 AND 20),
    PRIMARY KEY (owner, way, unit)
);

-- What guests want to pay of a public request, and what the payee's wallet says of it. The wallet decides; the plugin carries.
CREATE TABLE guest_parts (
    owner       bytea   NOT NULL REFERENCES accounts ON DELETE CASCADE CHECK (octet_length(owner) = 32),
    id          text    NOT NULL CHECK (length(id) = 22),
    request     text    NOT NULL CHECK (length(request) = 22),
    unit        text    NOT NULL CHECK (length(unit) BETWEEN 1 AND 20),
    way         text    NOT NULL CHECK (way IN ('lightning', 'onchain')),
    -- What the guest wanted to pay, then what the wallet offered, then what came, in minor units.
    amount      bigint  NOT NULL CHECK (amount > 0),
    -- What the guest calls themselves.
    name        text    CHECK (octet_length(name) BETWEEN 1 AND 64),
    -- Of what the guest asked for.
    digest      bytea   NOT NULL CHECK (octet_length(digest) = 32),
    -- Stands for the guest's network address as long as the wallet has not answered.
    address     bytea   CHECK (octet_length(address) = 32),
    state       text    NOT NULL CHECK (state IN ('waiting', 'offered', 'seen', 'paid', 'refused', 'ended')),
    at          bigint  NOT NULL CHECK (at >= 0),
    -- Until when the wallet can answer; once it has, until when it can be paid.
    expires     bigint  NOT NULL CHECK (expires > at),
    changed_at  bigint  NOT NULL CHECK (changed_at >= at),
    -- What is to be paid, in thousandths of a satoshi, and where: an invoice or an address.
    price_msat  bigint  CHECK (price_msat > 0),
    target      text    CHECK (length(target) BETWEEN 1 AND 2048),
    -- Why not: a code.
    reason      text    CHECK (length(reason) BETWEEN 1 AND 64),
    -- Digests of what the wallet has reported, so that the same again does no harm.
    reports     bytea[] NOT NULL DEFAULT '{}' CHECK (cardinality(reports) <= 8),
    PRIMARY KEY (owner, id),
    CHECK ((price_msat IS NULL) = (target IS NULL)),
    CHECK (state NOT IN ('offered', 'seen') OR target IS NOT NULL),
    CHECK (way <> 'onchain' OR price_msat % 1000 = 0),
    CHECK ((state = 'refused') = (reason IS NOT NULL)),
    CHECK (address IS NULL OR state = 'waiting')
);
CREATE INDEX guest_parts_by_age ON guest_parts (changed_at);
CREATE INDEX guest_parts_waiting ON guest_parts (expires) WHERE state = 'waiting';
