-- What the ledger says was billed (kind is null), paid in and paid out, by advertiser, campaign and day. An
-- adjustment belongs to the day and the campaign of what it corrects: a charge that it adds counts, one that it
-- takes back does so no more; what was given back is no charge. What was refused moves nothing, and
-- is not adjusted either when another generation refuses something else.
-- $1, $2: the first and the last day; $3: advertisers. Null stands for all.
WITH moved AS (
    SELECT advertiser_id, campaign_id, day, amount, currency,
           CASE WHEN kind IN ('opening', 'top_up', 'withdrawal') THEN kind END AS kind,
           CASE WHEN kind IN ('sale_reversal', 'refund', 'reversal') THEN 0 ELSE 1 END AS count
    FROM weir.entries WHERE outcome = 'charged' AND kind NOT IN ('arrears', 'credit_line', 'brought_forward')
    UNION ALL
    SELECT a.advertiser_id, coalesce(a.campaign_id, o.campaign_id), a.day, a.amount, a.currency, NULL,
           CASE WHEN a.reason = 'charge' AND a.amount >= 0 THEN 1
                WHEN a.reason = 'reversal' AND a.amount <= 0 THEN -1
                ELSE 0 END
    FROM weir.entries a LEFT JOIN weir.entries o ON o.id = a.corrects WHERE a.outcome = 'adjusted'
)
SELECT advertiser_id::text, coalesce(campaign_id, 0)::text, day::text, kind, sum(count)::text, sum(amount)::text,
       currency::text
FROM moved
WHERE ($1::text IS NULL OR day >= $1::text::date) AND ($2::text IS NULL OR day <= $2::text::date)
    AND ($3::text[] IS NULL OR advertiser_id::text = ANY ($3))
GROUP BY 1, 2, 3, 4, 7
