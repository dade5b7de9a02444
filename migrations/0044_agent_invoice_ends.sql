-- When an invoice ends by itself: what has ended is not counted among those that are open.

ALTER TABLE agent_invoices ADD COLUMN expires bigint NOT NULL DEFAULT 0;
UPDATE agent_invoices SET expires = (collection::json -> 'bill' ->> 'expires')::bigint;
ALTER TABLE agent_invoices ALTER COLUMN expires DROP DEFAULT;
CREATE INDEX agent_invoices_open ON agent_invoices (owner, expires) WHERE state = 'open';
