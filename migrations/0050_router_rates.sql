-- What users publish about the units that they exchange: the newest record of each, as in router_advert.
CREATE TABLE router_rates (
    owner       bytea    NOT NULL PRIMARY KEY REFERENCES router_user ON DELETE CASCADE,
    serial      bigint   NOT NULL CHECK (serial >= 0),
    signer      bytea    NOT NULL CHECK (octet_length(signer) = 32),
    -- The earlier of the end of the record and of the authority of the key that signed it.
    expires     bigint   NOT NULL CHECK (expires >= 0),
    jws         text     NOT NULL CHECK (octet_length(jws) <= 65536),
    etag        text     CHECK (octet_length(etag) <= 200),
    -- How often in a row it was not there any more.
    missing     smallint NOT NULL DEFAULT 0 CHECK (missing >= 0),
    withdrawn   boolean  NOT NULL DEFAULT false,
    fetched_at  bigint   NOT NULL CHECK (fetched_at >= 0)
);
CREATE INDEX router_rates_by_expiry ON router_rates (expires);
