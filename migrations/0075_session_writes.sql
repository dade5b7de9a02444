-- Whether a session may change something, or only read, by the grant that opened it. Those that are open keep what they had.
ALTER TABLE sessions ADD COLUMN writes boolean NOT NULL DEFAULT true;
ALTER TABLE sessions ALTER COLUMN writes DROP DEFAULT;
