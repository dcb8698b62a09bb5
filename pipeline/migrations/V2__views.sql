-- What finance looks at.

-- By advertiser, currency and day of the account: `net` is by how much the balance has changed. An adjustment
-- counts on the day of the event that it is about.
CREATE VIEW weir.statement AS
SELECT advertiser_id, currency, day,
       count(*) FILTER (WHERE charge) AS charged_count,
       coalesce(sum(amount) FILTER (WHERE charge), 0) AS charged,
       coalesce(-sum(amount) FILTER (WHERE kind IN ('sale_reversal', 'refund', 'reversal')), 0) AS refunded,
       coalesce(-sum(amount) FILTER (WHERE kind = 'opening'), 0) AS opened,
       coalesce(-sum(amount) FILTER (WHERE kind = 'top_up'), 0) AS topped_up,
       coalesce(sum(amount) FILTER (WHERE kind = 'withdrawal'), 0) AS withdrawn,
       coalesce(sum(amount) FILTER (WHERE kind = 'adjustment'), 0) AS adjusted,
       -sum(amount) AS net
FROM (SELECT *, kind IN ('click', 'impression', 'action', 'sale', 'period') AS charge FROM weir.entries) e
WHERE outcome <> 'refused'
GROUP BY advertiser_id, currency, day;

-- What is owed to each advertiser, by the postings.
CREATE VIEW weir.balance AS
SELECT substr(account, length('advertiser:') + 1)::numeric(20) AS advertiser_id, currency, -sum(amount) AS balance
FROM weir.postings
WHERE account LIKE 'advertiser:%'
GROUP BY account, currency;

-- Every account with its debits and credits: the two columns have the same sum.
CREATE VIEW weir.trial_balance AS
SELECT account, currency,
       coalesce(sum(amount) FILTER (WHERE amount > 0), 0) AS debit,
       coalesce(-sum(amount) FILTER (WHERE amount < 0), 0) AS credit
FROM weir.postings
GROUP BY account, currency;

-- What was given back, beside what it goes back to; events by their guid.
CREATE VIEW weir.refunds AS
SELECT r.id, r.kind, r.guid, r.advertiser_id, r.currency, -r.amount AS refunded, r.event_time, r.day,
       r.original, o.id AS original_id, o.kind AS original_kind, o.amount AS original_amount,
       o.event_time AS original_time, o.campaign_id AS original_campaign_id, o.ad_id AS original_ad_id
FROM weir.entries r
LEFT JOIN weir.entries o ON o.advertiser_id = r.advertiser_id AND o.guid = r.original
    AND o.kind IN ('click', 'impression', 'action', 'sale', 'sale_reversal')
WHERE r.kind IN ('sale_reversal', 'refund', 'reversal') AND r.outcome = 'charged';

-- What could not be charged, and why.
CREATE VIEW weir.refused AS
SELECT id, kind, reason, billing, guid, advertiser_id, campaign_id, ad_id, amount, currency, event_time, day
FROM weir.entries
WHERE outcome = 'refused';
