-- How much a payment was for that names no amount before its payee grants it, in minor units.
ALTER TABLE proposal ADD COLUMN amount INTEGER CHECK (amount >= 0);
