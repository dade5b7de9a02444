-- Sessions of the wallet page beside those of apps, so that their user can tell them apart and end each of them.
ALTER TABLE sessions ADD COLUMN kind text NOT NULL DEFAULT 'app' CHECK (kind IN ('app', 'page'));
