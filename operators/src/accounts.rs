//! Accounts: reads the accounts file, CSV with the header
//! `advertiser_id,daily_budget_micros,balance_micros`, optionally followed by `,currency,time_zone`, into
//! commands of `judged`. Without these columns, or where they are empty, an account is in US dollars and UTC.
//!
//! The balance was in other books before: it is brought forward from there, and belongs to no day.

use crate::deduct::zone;
use weir_proto::rpc::command::Action;
use weir_proto::{Command, Currency, Nanos, rpc};

/// The header of an accounts file.
pub const HEADER: &str = "advertiser_id,daily_budget_micros,balance_micros";
/// What may follow it.
pub const MORE: &str = ",currency,time_zone";

/// A line of an accounts file is wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "line {line}: {problem}. Each line must be `{HEADER}`, three whole numbers, amounts in micros, and \
         if the header says so `{MORE}`, such as EUR and Europe/Berlin"
)]
pub struct AccountsError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// Reads the whole file; commands in file order, each with the byte position of its line.
pub fn parse(text: &str) -> Result<Vec<(u64, rpc::Command)>, AccountsError> {
    let mut commands = Vec::new();
    let mut seen = hashbrown::HashSet::new();
    let (mut position, mut columns) = (0u64, 0);
    for (at, whole) in text.split_inclusive('\n').enumerate() {
        let line = whole.trim_end_matches(['\r', '\n']);
        let error = |problem: String| AccountsError { line: at + 1, problem };
        if at == 0 {
            let header = line.trim_start_matches('\u{feff}');
            if !matches!(header.strip_prefix(HEADER), Some("" | MORE)) {
                return Err(error(format!("the header is {line:?}")));
            }
            columns = header.split(',').count();
        } else if !line.trim().is_empty() {
            let command = parse_line(line, columns).map_err(error)?;
            if !seen.insert(command.advertiser_id) {
                return Err(error(format!("advertiser {} stands there twice", command.advertiser_id)));
            }
            commands.push((position, command));
        }
        position += whole.len() as u64;
    }
    if text.is_empty() {
        return Err(AccountsError { line: 1, problem: "the file is empty".to_owned() });
    }
    Ok(commands)
}

fn parse_line(line: &str, columns: usize) -> Result<rpc::Command, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    if fields.len() != columns {
        return Err(format!("{} fields instead of {columns}", fields.len()));
    }
    let field = |at: usize| fields.get(at).copied().unwrap_or("");
    let number = |name: &str, text: &str| {
        text.parse::<u64>().map_err(|_| format!("{name} is {text:?}, not a whole number from 0"))
    };
    let currency = match field(3) {
        "" => Currency::default(),
        code => Currency::parse(code).ok_or_else(|| format!("currency is {code:?}, not one such as EUR"))?,
    };
    let time_zone = field(4).to_owned();
    if zone(&time_zone).is_none() {
        return Err(format!("time_zone is {time_zone:?}, not one of IANA such as Europe/Berlin"));
    }
    let money = |name: &str, text: &str| {
        let amount = Nanos::from_micros(number(name, text)?);
        amount.to_wire(currency).map(Some).map_err(|e| format!("{name} is {text:?}: {e}"))
    };
    let open = rpc::OpenAccount {
        daily_budget: money("daily_budget_micros", field(1))?,
        balance: money("balance_micros", field(2))?,
        time_zone,
        brought_forward: true,
        ..rpc::OpenAccount::default()
    };
    Ok(rpc::Command {
        key: Command::ACCOUNTS_FILE.to_owned(),
        advertiser_id: number("advertiser_id", field(0))?,
        time_ms: 0,
        action: Some(Action::Open(open)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(command: &rpc::Command) -> &rpc::OpenAccount {
        match &command.action {
            Some(Action::Open(open)) => open,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_file_is_read_with_positions() {
        let text = format!("{HEADER}\r\n1,5,6\n\n36,1000000,2");
        let commands = parse(&text).unwrap();
        assert_eq!(commands.len(), 2);
        let amounts = |command| {
            let rpc::OpenAccount { balance, daily_budget, .. } = opening(command);
            [balance, daily_budget].map(|money| money.as_ref().unwrap().read().unwrap())
        };
        let usd = Currency::default();
        assert_eq!(
            (commands[0].0, amounts(&commands[0].1)),
            (50, [(Nanos(6_000), usd), (Nanos(5_000), usd)])
        );
        assert_eq!((commands[1].0, amounts(&commands[1].1)[0]), (57, (Nanos(2_000), usd)));
        assert_eq!(commands[1].1.advertiser_id, 36);
    }

    #[test]
    fn an_account_has_its_currency_and_time_zone() {
        let text = format!("{HEADER}{MORE}\n1,5,6,EUR,Europe/Berlin\n2,5,6,,\n");
        let commands = parse(&text).unwrap();
        let said = |at: usize| {
            let open = opening(&commands[at].1);
            (open.balance.as_ref().unwrap().currency_code.as_str(), open.time_zone.as_str())
        };
        assert_eq!((said(0), said(1)), (("EUR", "Europe/Berlin"), ("USD", "")));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (body, line, problem) in [
            ("1,5", 2, "2 fields instead of 3"),
            ("1,5,6,EUR,", 2, "5 fields instead of 3"),
            ("1,5,6\n2,-1,6", 3, "daily_budget_micros is \"-1\", not a whole number from 0"),
            ("1,5,6\n2,1,99999999999999999999", 3, "balance_micros is"),
            ("1,5,6\n1,5,6", 3, "advertiser 1 stands there twice"),
        ] {
            let error = parse(&format!("{HEADER}\n{body}\n")).unwrap_err();
            assert_eq!(error.line, line);
            assert!(error.problem.starts_with(problem), "{error}");
        }
        for (body, problem) in [
            ("1,5,6", "3 fields instead of 5"),
            ("1,5,6,euro,UTC", "currency is \"euro\""),
            ("1,5,6,EUR,Berlin", "time_zone is \"Berlin\""),
        ] {
            let error = parse(&format!("{HEADER}{MORE}\n{body}\n")).unwrap_err();
            assert!(error.problem.starts_with(problem), "{error}");
        }
        assert_eq!(parse("").unwrap_err().line, 1);
        assert_eq!(parse("id,a,b\n").unwrap_err().line, 1);
    }
}
