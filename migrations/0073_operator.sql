-- What operators decide about accounts, and what they did. Times are Unix milliseconds.

-- An account that is switched off keeps all it holds; its user's calls are refused, and its agent signs nothing.
ALTER TABLE accounts ADD COLUMN disabled_at bigint CHECK (disabled_at >= 0);
ALTER TABLE accounts ADD COLUMN disabled_why text CHECK (octet_length(disabled_why) BETWEEN 1 AND 512);
ALTER TABLE accounts ADD CHECK ((disabled_at IS NULL) = (disabled_why IS NULL));
CREATE INDEX accounts_disabled ON accounts (owner) WHERE disabled_at IS NOT NULL;

-- Every action of an operator, written with what it changes.
CREATE TABLE operator_audit (
    id       bigint NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at       bigint NOT NULL CHECK (at >= 0),
    -- By a program with the password, or on the operator's page.
    via      text   NOT NULL CHECK (via IN ('api', 'page', 'program')),
    -- From which network address; empty if none was involved.
    address  text   NOT NULL CHECK (octet_length(address) <= 64),
    action   text   NOT NULL CHECK (octet_length(action) BETWEEN 1 AND 64),
    -- About whose account.
    subject  bytea  CHECK (octet_length(subject) = 32),
    detail   text   NOT NULL CHECK (octet_length(detail) <= 1024)
);
CREATE INDEX operator_audit_by_subject ON operator_audit (subject, id) WHERE subject IS NOT NULL;

-- What was done was done, whoever writes.
CREATE FUNCTION operator_audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what an operator did is not rewritten' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER operator_audit_stays BEFORE UPDATE OR DELETE ON operator_audit
    FOR EACH ROW EXECUTE FUNCTION operator_audit_stays();
