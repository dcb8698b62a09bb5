//! `weir refund --where`: every charge that an expression names.

use super::Failure;
use super::output::{grouped, line};
use super::progress::count_bar;
use super::refund::RefundArgs;
use super::session::Session;
use super::submit::{Counts, key_of, new_key};
use super::table::Table;
use crate::commands::{Part, can_be_refunded, published_parts};
use crate::data_dir::DataDir;
use crate::generations::Registry;
use crate::log::{BesideLog, TopicReader};
use crate::tap::{Cursor, Filter, Found, From, Personal, Row, TapError, Until};
use serde::Serialize;
use serde_json::json;
use std::ops::ControlFlow;
use weir_operators::partition;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{Command, Original, Refund};
use weir_proto::{Currency, MessageId, Nanos, Outcome, Record, Topic};

/// A charge that is to be given back.
#[derive(Debug, Serialize)]
struct Charged {
    id: String,
    guid: String,
    kind: &'static str,
    campaign_id: u64,
    amount_nanos: Nanos,
    currency: Currency,
}

pub(super) fn refund_all(args: &RefundArgs, filter: &str) -> Result<(), Failure> {
    let dir = DataDir::open(&args.sending.data_dir)?;
    let filter = Filter::new(Topic::Charges, filter).map_err(Failure::usage)?;
    let charges = matching(args, &dir, &filter)?;
    if args.dry_run {
        return foretell(args, &charges);
    }
    let key = args.sending.key_or(new_key)?;
    eprintln!("The key is {key}: with `--key {key}` the same command goes on if it is interrupted");
    let mut session = Session::open(&dir)?;
    let (bar, mut counts, mut given) =
        (count_bar("refunding", charges.len()), Counts::default(), Nanos::ZERO);
    let commands = charges.iter().map(|charge| command(args, &key, charge));
    let mut problem = Ok(());
    session.submit_all(commands, |_, response| {
        bar.inc(1);
        counts.add(response);
        let amount =
            response.amount.as_ref().and_then(|m| m.read()).map_or(Nanos::ZERO, |(amount, _)| amount);
        if response.outcome == "charged" {
            match given.checked_sub(amount) {
                Ok(sum) => given = sum,
                Err(error) => problem = Err(error),
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    session.close()?;
    problem?;
    said(args, &key, &charges, &counts, given)
}

/// The charges, oldest first.
fn matching(args: &RefundArgs, dir: &DataDir, filter: &Filter) -> Result<Vec<Charged>, Failure> {
    let (registry, log) = (Registry::open(dir)?, BesideLog::open(dir.topics()));
    let partition = partition::by_advertiser(args.advertiser, dir.partitions());
    let place = (args.from.unwrap_or(From::Start), args.until.unwrap_or(Until::End));
    let mut found = Vec::new();
    for part in published_parts(&registry, &log, partition)?.iter().rev().filter(|part| part.from < part.to) {
        let reader = TopicReader::open(&dir.topics(), part.topic)?;
        let mut cursor = Cursor::new(&reader, partition, (place.0, Some(place.1)), None)?;
        let visit = |record: Found<'_>| look(args, part, filter, &record, &mut found);
        read(&mut cursor, &reader, part, visit).map_err(|error| match error {
            TapError::Filter(e) => Failure::usage(e),
            other => other.into(),
        })?;
    }
    Ok(found)
}

fn read(
    cursor: &mut Cursor,
    reader: &TopicReader,
    part: &Part,
    mut visit: impl FnMut(Found<'_>) -> Result<(), TapError>,
) -> Result<(), TapError> {
    let mut is_over = false;
    while !is_over {
        let more = cursor.advance(reader, |found| {
            if found.offset >= part.to {
                is_over = true;
                return Ok(ControlFlow::Break(()));
            }
            visit(found)?;
            Ok(ControlFlow::Continue(()))
        })?;
        is_over |= !more;
    }
    Ok(())
}

fn look(
    args: &RefundArgs,
    part: &Part,
    filter: &Filter,
    found: &Found<'_>,
    into: &mut Vec<Charged>,
) -> Result<(), TapError> {
    let Record::Charge(charge) = found.record else { return Ok(()) };
    let is_own = charge.advertiser_id == args.advertiser && can_be_refunded(charge.kind);
    if !is_own || charge.outcome != Outcome::Charged || charge.amount <= Nanos::ZERO {
        return Ok(());
    }
    if filter.accepts(&Row::new(Topic::Charges, found, &Personal::Plain).value())? {
        let id = MessageId { topic: part.topic, partition: found.head.partition, offset: found.offset };
        into.push(Charged {
            id: id.to_string(),
            guid: charge.guid.to_string(),
            kind: charge.kind.name(),
            campaign_id: charge.campaign_id,
            amount_nanos: charge.amount,
            currency: charge.currency,
        });
    }
    Ok(())
}

fn command(args: &RefundArgs, key: &str, charge: &Charged) -> Command {
    let refund = Refund {
        guid: charge.guid.clone(),
        amount: None,
        reason: args.reason.clone(),
        // Where to look first.
        original: Some(Original { id: charge.id.clone(), ..Original::default() }),
    };
    let action = Some(Action::Refund(refund));
    Command { key: key_of(key, &charge.guid), advertiser_id: args.advertiser, time_ms: 0, action }
}

fn total(charges: &[Charged]) -> Nanos {
    charges.iter().map(|charge| charge.amount_nanos).sum()
}

fn currency(charges: &[Charged]) -> Option<Currency> {
    charges.first().map(|charge| charge.currency)
}

fn foretell(args: &RefundArgs, charges: &[Charged]) -> Result<(), Failure> {
    let (total, currency) = (total(charges), currency(charges));
    if args.sending.json {
        let count = charges.len();
        return line(
            &json!({ "charges": charges, "count": count, "total_nanos": total, "currency": currency })
                .to_string(),
        );
    }
    let Some(currency) = currency else { return line("No charge matches") };
    let mut table = Table::new(&["<id", "<guid", "<kind", "campaign", "amount"]);
    for c in charges {
        table.row(&[&c.id, &c.guid, &c.kind, &c.campaign_id, &c.amount_nanos]);
    }
    table.print()?;
    let count = grouped(charges.len() as u64);
    line(&format!("\n{count} charges, {total} {currency} in all. Nothing was done: this was a dry run"))
}

fn said(
    args: &RefundArgs,
    key: &str,
    charges: &[Charged],
    counts: &Counts,
    given: Nanos,
) -> Result<(), Failure> {
    let currency = currency(charges);
    if args.sending.json {
        line(
            &json!({
                "key": key, "matched": charges.len(), "refunded": counts.done, "repeated": counts.repeated,
                "refused": counts.refused, "refunded_nanos": given, "currency": currency,
            })
            .to_string(),
        )?;
    } else if let Some(currency) = currency {
        let before = match counts.repeated {
            0 => String::new(),
            n => format!(", {} of them before", grouped(n)),
        };
        let (done, matched) = (grouped(counts.done), grouped(charges.len() as u64));
        line(&format!("{done} of {matched} charges are given back{before}: {given} {currency}"))?;
    } else {
        line("No charge matches")?;
    }
    counts.refusal()
}
