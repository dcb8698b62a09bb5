-- What moves nothing: what the account system could not collect, and credit lines that let an account pay again.
-- And the balances that accounts had before, as an
-- accounts file says: on 1970-01-01, before all days.

ALTER TABLE weir.entries DROP CONSTRAINT entries_kind_check;
ALTER TABLE weir.entries ADD CONSTRAINT entries_kind_check CHECK (kind IN ('click', 'impression', 'action', 'sale',
    'sale_reversal', 'period', 'opening', 'top_up', 'withdrawal', 'refund', 'reversal', 'adjustment',
    'arrears', 'credit_line', 'brought_forward'));

CREATE UNIQUE INDEX entries_brought_forward_once ON weir.entries (advertiser_id) WHERE kind = 'brought_forward';

CREATE OR REPLACE VIEW weir.statement AS
SELECT advertiser_id, currency, day,
       count(*) FILTER (WHERE charge) AS charged_count,
       coalesce(sum(amount) FILTER (WHERE charge), 0) AS charged,
       coalesce(-sum(amount) FILTER (WHERE kind IN ('sale_reversal', 'refund', 'reversal')), 0) AS refunded,
       coalesce(-sum(amount) FILTER (WHERE kind IN ('opening', 'brought_forward')), 0) AS opened,
       coalesce(-sum(amount) FILTER (WHERE kind = 'top_up'), 0) AS topped_up,
       coalesce(sum(amount) FILTER (WHERE kind = 'withdrawal'), 0) AS withdrawn,
       coalesce(sum(amount) FILTER (WHERE kind = 'adjustment'), 0) AS adjusted,
       -sum(amount) AS net
FROM (SELECT *, kind IN ('click', 'impression', 'action', 'sale', 'period') AS charge FROM weir.entries) e
WHERE outcome <> 'refused'
GROUP BY advertiser_id, currency, day;
