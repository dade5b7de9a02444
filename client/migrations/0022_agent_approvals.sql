-- Who pays what recurs: this wallet, or the agent that keeps the books with the payee.

-- `here`, `handing` (to the agent), `agent`, `taking` (back from it). This wallet pays only what is here.
ALTER TABLE approval ADD COLUMN place TEXT NOT NULL DEFAULT 'here' CHECK (place IN ('here', 'handing', 'agent', 'taking'));
-- Why the agent does not pay it, or was not reached: a code.
ALTER TABLE approval ADD COLUMN place_why TEXT;
-- When that is looked at again.
ALTER TABLE approval ADD COLUMN place_at INTEGER NOT NULL DEFAULT 0;

-- Where a letter goes, JSON of the ledger, if not to the user's wallet.
ALTER TABLE letter ADD COLUMN reply TEXT;
