//! Writes rows as JSON Lines, CSV or a table.

use super::Row;
use super::fields::{self, Field, PLACE, TICK};
use super::table::Table;
use clap::ValueEnum;
use serde_json::Value;
use std::io::{Result, Write};
use weir_proto::Topic;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line: everything that is known.
    Jsonl,
    /// Comma-separated values with a header line; the columns of a topic are always the same.
    Csv,
    /// Aligned columns with what matters most, for people.
    Table,
}

/// Writes rows in a format.
pub enum Printer<W: Write> {
    /// See [`Format::Jsonl`].
    Jsonl(W),
    /// See [`Format::Csv`].
    Csv(Box<csv::Writer<W>>, Vec<Field>),
    /// See [`Format::Table`].
    Table(Table<W>),
}

impl<W: Write> Printer<W> {
    /// Begins with the header line, if the format has one.
    pub fn new(format: Format, topic: Topic, ticks: bool, out: W) -> Result<Self> {
        let columns = |fields: Vec<Field>| -> Vec<Field> {
            let tick = ticks.then_some(TICK[1]);
            PLACE.into_iter().chain(fields).chain(tick).collect()
        };
        Ok(match format {
            Format::Jsonl => Printer::Jsonl(out),
            Format::Csv => {
                let columns = columns(fields::fields(topic));
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(columns.iter().map(|c| c.name))?;
                Printer::Csv(Box::new(csv), columns)
            }
            Format::Table => Printer::Table(Table::new(columns(fields::table_fields(topic)), out)),
        })
    }

    /// Writes a row.
    pub fn print(&mut self, row: &Row) -> Result<()> {
        match self {
            Printer::Jsonl(out) => {
                serde_json::to_writer(&mut *out, row)?;
                out.write_all(b"\n")
            }
            Printer::Csv(csv, columns) => {
                let value = row.value();
                Ok(csv.write_record(columns.iter().map(|c| text(cell(&value, c))))?)
            }
            Printer::Table(table) => table.push(&row.value()),
        }
    }

    /// Hands over what was written.
    pub fn flush(&mut self) -> Result<()> {
        match self {
            Printer::Jsonl(out) => out.flush(),
            Printer::Csv(csv, _) => csv.flush(),
            Printer::Table(table) => table.flush(),
        }
    }
}

/// A field of a record.
pub(super) fn cell<'a>(row: &'a Value, field: &Field) -> &'a Value {
    if PLACE.contains(field) { &row["provenance"][field.name] } else { &row[field.name] }
}

/// A value without quotes; nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
