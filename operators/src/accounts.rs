//! Accounts: reads the accounts file, CSV with the header
//! `advertiser_id,daily_budget_micros,balance_micros`, into account commands of `judged`.

use weir_proto::{AccountOpen, Nanos};

/// The header of an accounts file.
pub const HEADER: &str = "advertiser_id,daily_budget_micros,balance_micros";

/// A line of an accounts file is wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {problem}. Each line must be `{HEADER}`, three whole numbers, amounts in micros")]
pub struct AccountsError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// Reads the whole file; commands in file order, each with the byte position of its line.
pub fn parse(text: &str) -> Result<Vec<(u64, AccountOpen)>, AccountsError> {
    let mut commands = Vec::new();
    let mut seen = hashbrown::HashSet::new();
    let mut position = 0u64;
    for (at, whole) in text.split_inclusive('\n').enumerate() {
        let line = whole.trim_end_matches(['\r', '\n']);
        let error = |problem: String| AccountsError { line: at + 1, problem };
        if at == 0 {
            if line.trim_start_matches('\u{feff}') != HEADER {
                return Err(error(format!("the header is {line:?}")));
            }
        } else if !line.trim().is_empty() {
            let command = parse_line(line).map_err(error)?;
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

fn parse_line(line: &str) -> Result<AccountOpen, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [id, budget, balance] = fields[..] else {
        return Err(format!("{} fields instead of 3", fields.len()));
    };
    let number = |name: &str, text: &str| {
        text.parse::<u64>().map_err(|_| format!("{name} is {text:?}, not a whole number from 0"))
    };
    Ok(AccountOpen {
        advertiser_id: number("advertiser_id", id)?,
        daily_budget: Nanos::from_micros(number("daily_budget_micros", budget)?),
        balance: Nanos::from_micros(number("balance_micros", balance)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_file_is_read_with_positions() {
        let text = format!("{HEADER}\r\n1,5,6\n\n36,1000000,2");
        let commands = parse(&text).unwrap();
        assert_eq!(commands.len(), 2);
        assert_eq!((commands[0].0, commands[0].1.daily_budget), (50, Nanos(5_000)));
        assert_eq!((commands[1].0, commands[1].1.balance), (57, Nanos(2_000)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (body, line, problem) in [
            ("1,5", 2, "2 fields instead of 3"),
            ("1,5,6\n2,-1,6", 3, "daily_budget_micros is \"-1\", not a whole number from 0"),
            ("1,5,6\n2,1,99999999999999999999", 3, "balance_micros is"),
            ("1,5,6\n1,5,6", 3, "advertiser 1 stands there twice"),
        ] {
            let error = parse(&format!("{HEADER}\n{body}\n")).unwrap_err();
            assert_eq!(error.line, line);
            assert!(error.problem.starts_with(problem), "{error}");
        }
        assert_eq!(parse("").unwrap_err().line, 1);
        assert_eq!(parse("id,a,b\n").unwrap_err().line, 1);
    }
}
