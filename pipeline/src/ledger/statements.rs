//! What is asked of the database.

/// A commit that a crash of the server takes back would be missing when the log has let go of it.
pub const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// Up to where each partition is.
pub const READINGS: &str =
    "SELECT partition, generation, next_offset, next_seq, behind, adjustments FROM weir.position";

/// The same, to be set.
pub const PUT_READINGS: &str = "INSERT INTO weir.position AS p \
    SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) \
    ON CONFLICT (partition) DO UPDATE SET generation = excluded.generation, next_offset = excluded.next_offset, \
    next_seq = excluded.next_seq, behind = excluded.behind, adjustments = excluded.adjustments \
    WHERE (p.*) IS DISTINCT FROM (excluded.*)";

/// Entries with their postings; answers how many entries were not there before.
pub const ENTRIES: &str = "WITH fresh AS ( \
        INSERT INTO weir.entries (id, kind, outcome, reason, billing, guid, advertiser_id, campaign_id, ad_id, \
            amount, currency, balance_after, event_time, day, original, corrects) \
        SELECT id, kind, outcome, reason, billing, guid, advertiser_id, campaign_id, ad_id, \
            amount, currency, balance_after, event_time, day, original, corrects FROM staged \
        ON CONFLICT DO NOTHING RETURNING id), \
    legs AS ( \
        INSERT INTO weir.postings (entry_id, account, amount, currency) \
        SELECT s.id, leg.account, leg.amount, s.currency FROM fresh JOIN staged s USING (id), \
            LATERAL (VALUES (s.debit, abs(s.amount)), (s.credit, -abs(s.amount))) AS leg (account, amount) \
        WHERE leg.account IS NOT NULL RETURNING 1) \
    SELECT count(*) FROM fresh";

/// What was refused although nothing stands under its id: the event has another entry.
pub const CONFLICTS: &str = "INSERT INTO weir.conflicts (id, kind, outcome, reason, billing, guid, advertiser_id, \
        campaign_id, ad_id, amount, currency, balance_after, event_time, day, original, corrects) \
    SELECT id, kind, outcome, reason, billing, guid, advertiser_id, campaign_id, ad_id, amount, currency, \
        balance_after, event_time, day, original, corrects FROM staged s \
    WHERE NOT EXISTS (SELECT FROM weir.entries e WHERE e.id = s.id) ON CONFLICT DO NOTHING";
