-- Books are written anew with every change, and are long texts: a fast compression where the server has one.

DO $$
BEGIN
    ALTER TABLE agent_pairs ALTER COLUMN body SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
