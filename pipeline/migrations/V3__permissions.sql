-- The writer appends; its own position is all that it may change. The reader reads.

GRANT USAGE ON SCHEMA weir TO weir_writer, weir_reader;
GRANT SELECT, INSERT ON weir.entries, weir.postings, weir.conflicts, weir.source TO weir_writer;
GRANT SELECT, INSERT, UPDATE ON weir.position TO weir_writer;
GRANT SELECT ON weir.schema_history TO weir_writer;
GRANT SELECT ON weir.entries, weir.postings, weir.conflicts, weir.source, weir.position, weir.schema_history,
    weir.statement, weir.balance, weir.trial_balance, weir.refunds, weir.refused TO weir_reader;
