-- The ledger: what Weir has charged and refused, as double entries that nobody can change.
--
-- Money is numeric(38,9): whole units of the currency beside it with nine decimals, which is every nano
-- that Weir counts in. Ids of advertisers, campaigns and ads are unsigned 64-bit numbers.

DO $$
DECLARE
    needed text;
BEGIN
    FOREACH needed IN ARRAY ARRAY['weir_writer', 'weir_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = needed) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', needed);
        END IF;
    END LOOP;
    IF NOT pg_has_role(current_user, 'weir_writer', 'MEMBER') THEN
        EXECUTE format('GRANT weir_writer TO %I', current_user);
    END IF;
END
$$;

-- The job whose ledger this is, by the moment at which its data directory was begun.
CREATE TABLE weir.source (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    begun_ms bigint NOT NULL
);

-- Up to where the topics of each partition are in the ledger.
CREATE TABLE weir.position (
    partition integer PRIMARY KEY,
    generation bigint NOT NULL,
    next_offset bigint NOT NULL,
    next_seq bigint,
    behind bigint NOT NULL,
    adjustments bigint NOT NULL
);

CREATE TABLE weir.entries (
    -- topic/generation/partition/offset, as in `weir tap` and in what is delivered.
    id text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('click', 'impression', 'action', 'sale', 'sale_reversal', 'period',
        'opening', 'top_up', 'withdrawal', 'refund', 'reversal', 'adjustment')),
    outcome text NOT NULL CHECK (outcome IN ('charged', 'refused', 'adjusted')),
    -- Of a refusal; of an adjustment: what it does.
    reason text CHECK ((reason IS NULL) = (outcome = 'charged')),
    billing text,
    -- The event; the key of a command; the name of a period.
    guid text COLLATE "C" NOT NULL,
    advertiser_id numeric(20) NOT NULL,
    campaign_id numeric(20),
    ad_id numeric(20),
    -- Taken from the balance, negative: put to it. If refused: asked for in vain.
    amount numeric(38, 9) NOT NULL,
    currency char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    balance_after numeric(38, 9),
    event_time timestamptz NOT NULL,
    -- By the account's clock.
    day date NOT NULL,
    -- The guid of the event that it goes back to: the click, the sale, the charge given back.
    original text COLLATE "C",
    -- The id of the entry that an adjustment corrects.
    corrects text COLLATE "C",
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'adjustment') = (outcome = 'adjusted'))
);

-- An event has one outcome, whatever its offset; only an adjustment changes what it comes to.
CREATE UNIQUE INDEX entries_event_once ON weir.entries (advertiser_id, guid)
    WHERE kind IN ('click', 'impression', 'action', 'sale', 'sale_reversal');
-- What was refused may be asked for again.
CREATE UNIQUE INDEX entries_period_once ON weir.entries (advertiser_id, campaign_id, guid)
    WHERE kind = 'period' AND outcome = 'charged';
CREATE UNIQUE INDEX entries_command_once ON weir.entries (advertiser_id, kind, guid)
    WHERE kind IN ('opening', 'top_up', 'withdrawal', 'refund', 'reversal') AND outcome = 'charged';
CREATE INDEX entries_by_day ON weir.entries (day, advertiser_id);

-- What the database refused as an outcome of an event that has one already. There should be none.
CREATE TABLE weir.conflicts (LIKE weir.entries INCLUDING DEFAULTS, PRIMARY KEY (id));

-- The legs of an entry: debits are positive, credits negative.
CREATE TABLE weir.postings (
    entry_id text COLLATE "C" NOT NULL,
    -- advertiser:<id> is what is owed to an advertiser.
    account text COLLATE "C" NOT NULL CHECK (account ~ '^(revenue|cash|advertiser:[0-9]+)$'),
    amount numeric(38, 9) NOT NULL CHECK (amount <> 0),
    currency char(3) NOT NULL,
    PRIMARY KEY (entry_id, account)
);

-- Postings come with their entry, in its transaction: those of an entry of the past stay as they are. That the
-- entry is there is checked here for all of them together; it cannot go away.
CREATE FUNCTION weir.check_postings() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT f.entry_id INTO wrong
        FROM fresh f LEFT JOIN weir.entries e ON e.id = f.entry_id AND e.xmin = pg_current_xact_id()::xid
        WHERE e.id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'postings of % are refused: they must be added together with their entry', wrong
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER with_their_entry AFTER INSERT ON weir.postings
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION weir.check_postings();

-- Looked at when a transaction commits: the legs of an entry sum to zero in its currency, and move what it says.
CREATE FUNCTION weir.check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moves numeric := CASE NEW.outcome WHEN 'refused' THEN 0 ELSE abs(NEW.amount) END;
    net numeric;
    debits numeric;
    others bigint;
BEGIN
    SELECT coalesce(sum(amount), 0), coalesce(sum(amount) FILTER (WHERE amount > 0), 0),
           count(*) FILTER (WHERE currency <> NEW.currency)
        INTO net, debits, others
        FROM weir.postings WHERE entry_id = NEW.id;
    IF net <> 0 OR others > 0 OR debits <> moves THEN
        RAISE EXCEPTION 'the postings of entry % are not balanced: they sum to %, debit % where the entry moves %, '
            'and % are in another currency', NEW.id, net, debits, moves, others USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON weir.entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION weir.check_balanced();

-- Whoever asks, the owner included.
CREATE FUNCTION weir.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'weir.% is append-only: % is refused. What was wrong is corrected by an adjustment',
        TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON weir.entries
    FOR EACH STATEMENT EXECUTE FUNCTION weir.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON weir.postings
    FOR EACH STATEMENT EXECUTE FUNCTION weir.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON weir.conflicts
    FOR EACH STATEMENT EXECUTE FUNCTION weir.refuse_change();
