//! What a partner has counted: a CSV file with the header `advertiser_id,campaign_id,day,kind,count,amount`,
//! in any order; `kind` and `currency` may be missing, other columns are ignored. Amounts are in units, with
//! at most nine decimals. Lines about the same add up.

use super::Day;
use super::counts::{Figures, Key};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use weir_proto::{Currency, EntryKind, Nanos};

/// A file cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PartnerError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{path}, line {line}: {problem}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1; the header is line 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
}

/// A file that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Partner {
    /// What it says.
    pub figures: Figures,
    /// The kinds that it names; none if it has no such column.
    pub kinds: BTreeSet<&'static str>,
}

impl Partner {
    /// The first and the last day that it names.
    pub fn days(&self) -> Option<(Day, Day)> {
        let days = || self.figures.keys().map(|key| key.day);
        days().min().zip(days().max())
    }
}

/// Where the columns stand.
struct Columns {
    advertiser: usize,
    campaign: usize,
    day: usize,
    count: usize,
    amount: usize,
    kind: Option<usize>,
    currency: Option<usize>,
}

impl Columns {
    fn of(header: &csv::StringRecord) -> Result<Self, String> {
        let find = |name: &str| {
            let found = header.iter().position(|h| h.trim_start_matches('\u{feff}').trim() == name);
            found.ok_or_else(|| {
                format!(
                    "there is no column {name}: the header is advertiser_id,campaign_id,day,kind,count,amount"
                )
            })
        };
        Ok(Columns {
            advertiser: find("advertiser_id")?,
            campaign: find("campaign_id")?,
            day: find("day")?,
            count: find("count")?,
            amount: find("amount")?,
            kind: find("kind").ok(),
            currency: find("currency").ok(),
        })
    }
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Partner, PartnerError> {
    let text = std::fs::read(path).map_err(|source| PartnerError::Io { path: path.to_owned(), source })?;
    parse(&text).map_err(|(line, problem)| PartnerError::Line { path: path.to_owned(), line, problem })
}

/// Reads the bytes of a file; an error has its line.
pub fn parse(text: &[u8]) -> Result<Partner, (u64, String)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
    let mut records = reader.records();
    let damaged = |e: csv::Error| (e.position().map_or(1, csv::Position::line), e.to_string());
    let header = records.next().ok_or((1, "the file is empty".to_owned()))?.map_err(damaged)?;
    let columns = Columns::of(&header).map_err(|problem| (1, problem))?;
    let mut partner = Partner::default();
    for record in records {
        let record = record.map_err(damaged)?;
        let line = record.position().map_or(0, csv::Position::line);
        add(&mut partner, &columns, &record).map_err(|problem| (line, problem))?;
    }
    Ok(partner)
}

fn add(partner: &mut Partner, columns: &Columns, record: &csv::StringRecord) -> Result<(), String> {
    let text = |at: usize| record.get(at).unwrap_or("").trim();
    let kind = columns.kind.map(|at| kind(text(at))).transpose()?;
    let key = Key {
        advertiser_id: number("advertiser_id", text(columns.advertiser))?,
        campaign_id: number("campaign_id", text(columns.campaign))?,
        day: text(columns.day).parse().map_err(|e: super::day::DayError| e.to_string())?,
        kind,
    };
    let amount: Nanos = text(columns.amount).parse().map_err(|e: weir_proto::AmountError| e.to_string())?;
    let currency = columns.currency.map(text).filter(|code| !code.is_empty());
    let currency = currency
        .map(|code| Currency::parse(code).ok_or_else(|| format!("{code:?} is no currency such as EUR")));
    let figure = partner.figures.entry(key).or_default();
    let currency = currency.transpose()?;
    if figure.currency.is_some() && figure.currency != currency {
        return Err("a line about the same has another currency".to_owned());
    }
    figure.currency = currency;
    let count: u32 = number("count", text(columns.count))?;
    figure.add(count.into(), amount).map_err(|e| e.to_string())?;
    partner.kinds.extend(kind);
    Ok(())
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} is {text:?}, not a whole number from 0 that is small enough"))
}

fn kind(text: &str) -> Result<&'static str, String> {
    let names = EntryKind::ALL.map(EntryKind::name);
    let found = names.into_iter().find(|name| *name == text);
    found.ok_or_else(|| format!("{text:?} is no kind: there are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "advertiser_id,campaign_id,day,kind,count,amount";

    #[test]
    fn lines_about_the_same_add_up_and_other_columns_are_ignored() {
        let text = "\u{feff}day,note,amount,count,advertiser_id,campaign_id\r\n\
            2026-01-02,\"a, b\",1.5,2,7,70\r\n2026-01-01,,0.000000001,1,7,70\r\n2026-01-02,,-0.5,1,7,70\r\n";
        let partner = parse(text.as_bytes()).unwrap();
        let figures: Vec<_> = partner.figures.values().map(|f| (f.count, f.amount_nanos.0)).collect();
        assert_eq!(figures, [(1, 1), (3, 1_000_000_000)]);
        assert_eq!(partner.days().map(|(from, to)| (from.0, to.0)), Some((20_454, 20_455)));
        assert!(partner.kinds.is_empty());
        let text = format!("{HEADER}\n7,70,2026-01-02,click,2,1\n7,70,2026-01-02,impression,2,1\n");
        let partner = parse(text.as_bytes()).unwrap();
        assert_eq!((partner.figures.len(), partner.kinds.len()), (2, 2));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, problem) in [
            ("".to_owned(), 1, "the file is empty"),
            ("advertiser_id,day,count,amount\n".to_owned(), 1, "there is no column campaign_id"),
            (format!("{HEADER}\n7,70,2026-01-02,click,2,1\n7,70,2026-1-2,click,2,1\n"), 3, "is not a day"),
            (format!("{HEADER}\n7,70,2026-01-02,click,-2,1\n"), 2, "count is \"-2\""),
            (format!("{HEADER}\n7,70,2026-01-02,tap,2,1\n"), 2, "\"tap\" is no kind"),
            (format!("{HEADER}\n7,70,2026-01-02,click,2,1.0000000001\n"), 2, "is not an amount"),
            (format!("{HEADER}\n\"7\n\",70,2026-01-02,click,2,1\n7,70\n"), 4, "fields"),
            (format!("{HEADER},currency\n7,70,2026-01-02,click,2,1,euro\n"), 2, "\"euro\" is no currency"),
        ] {
            let (at, said) = parse(text.as_bytes()).unwrap_err();
            assert!(at == line && said.contains(problem), "{text}: line {at}, {said}");
        }
    }
}
