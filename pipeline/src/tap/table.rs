//! Aligned columns for a terminal.

use super::fields::{Field, Kind};
use super::printer::{cell, text};
use jiff::Timestamp;
use serde_json::Value;
use std::io::{Result, Write};
use weir_proto::Nanos;

/// Rows that are aligned with each other; columns may grow later, never shrink.
const TOGETHER: usize = 1_000;

/// Aligns rows.
pub struct Table<W: Write> {
    out: W,
    columns: Vec<Field>,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl<W: Write> Table<W> {
    /// Begins with the names of the columns.
    pub fn new(columns: Vec<Field>, out: W) -> Self {
        let header: Vec<String> = columns.iter().map(heading).collect();
        let widths = vec![0; columns.len()];
        Table { out, columns, widths, rows: vec![header] }
    }

    /// Adds a row.
    pub fn push(&mut self, row: &Value) -> Result<()> {
        self.rows.push(self.columns.iter().map(|c| shown(cell(row, c), c.kind)).collect());
        if self.rows.len() < TOGETHER { Ok(()) } else { self.write() }
    }

    /// Writes what was added.
    pub fn flush(&mut self) -> Result<()> {
        self.write()?;
        self.out.flush()
    }

    fn write(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        for (at, width) in self.widths.iter_mut().enumerate() {
            let longest = rows.iter().map(|row| row[at].chars().count()).max();
            *width = longest.unwrap_or(0).max(*width);
        }
        for row in rows {
            let mut line = String::new();
            for ((cell, width), column) in row.iter().zip(&self.widths).zip(&self.columns) {
                match column.kind {
                    Kind::Number | Kind::Money => line.push_str(&format!("{cell:>width$}  ")),
                    Kind::Time | Kind::Text | Kind::Flag => line.push_str(&format!("{cell:<width$}  ")),
                }
            }
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The name of a column, without the unit that its cells show otherwise.
fn heading(field: &Field) -> String {
    let unit = match field.kind {
        Kind::Money => "_nanos",
        Kind::Time => "_ms",
        Kind::Number | Kind::Text | Kind::Flag => "",
    };
    field.name.trim_end_matches(unit).to_owned()
}

fn shown(value: &Value, kind: Kind) -> String {
    let special = match kind {
        Kind::Money => text(value).parse().ok().map(|nanos| Nanos(nanos).to_string()),
        Kind::Time => {
            value.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok()).map(|t| format!("{t:.3}"))
        }
        Kind::Number | Kind::Text | Kind::Flag => None,
    };
    // Text from outside must not steer the terminal.
    special.unwrap_or_else(|| text(value).replace(char::is_control, "\u{fffd}"))
}

#[cfg(test)]
mod tests {
    use super::super::fields::table_fields;
    use super::*;
    use serde_json::json;
    use weir_proto::Topic;

    fn table(rows: &[Value]) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(table_fields(Topic::Notices), &mut out);
        rows.iter().for_each(|row| table.push(row).unwrap());
        table.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_and_amounts_and_times_readable() {
        let rows = [
            json!({ "event_time_ms": 1_767_261_600_000_u64, "notice": "exhausted", "advertiser_id": 7, "balance_nanos": 1 }),
            json!({ "event_time_ms": 1_767_261_600_000_u64, "notice": "exhausted", "advertiser_id": 1234, "balance_nanos": "9999999999000000001" }),
            json!({ "event_time_ms": 1_767_261_600_000_u64, "notice": "takeover", "worker": 2, "taken_partition": 13 }),
        ];
        let lines = [
            "event_time                notice     advertiser_id               balance  worker  taken_partition",
            "2026-01-01T10:00:00.000Z  exhausted              7           0.000000001",
            "2026-01-01T10:00:00.000Z  exhausted           1234  9999999999.000000001",
            "2026-01-01T10:00:00.000Z  takeover                                             2               13",
        ];
        assert_eq!(table(&rows).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn a_terminal_is_not_steered() {
        let shown = table(&[json!({ "notice": "\u{1b}[2Jgone" })]);
        assert!(!shown.contains('\u{1b}') && shown.contains("[2Jgone"));
    }
}
