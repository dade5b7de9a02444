-- Whether the user is still to be told that all that a request asks for is paid.
ALTER TABLE request ADD COLUMN tell_full INTEGER NOT NULL DEFAULT 0;
CREATE INDEX request_tell_full ON request (id) WHERE tell_full = 1;
