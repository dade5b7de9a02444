-- Invoices that an agent looks after.

-- `here`: this wallet does. `handing`: the agent may have it already. `agent`: the agent does. `lost`: it did, and nobody knows what
-- it has shown to a log: the logs decide.
ALTER TABLE invoice ADD COLUMN place TEXT NOT NULL DEFAULT 'here' CHECK (place IN ('here', 'handing', 'agent', 'lost'));
-- With the agent: how far it is, as the agent says. Here: why it stays here, if it was looked whether it should.
ALTER TABLE invoice ADD COLUMN told TEXT;
-- What the agent published.
ALTER TABLE invoice ADD COLUMN preimage TEXT;

CREATE INDEX invoice_place ON invoice (place) WHERE stage = 'open';
