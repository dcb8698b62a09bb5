//! Tables for people: aligned columns, the header bold on a terminal that wants colours.

use super::Failure;
use super::output::line;
use std::io::IsTerminal;

/// A table under construction.
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns; one whose name starts with `<` is aligned to the left.
    pub(super) fn new(header: &[&'static str]) -> Self {
        Table { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: &[&dyn std::fmt::Display]) {
        self.rows.push(cells.iter().map(|c| c.to_string()).collect());
    }

    /// Prints it.
    pub(super) fn print(&self) -> Result<(), Failure> {
        let names: Vec<&str> = self.header.iter().map(|h| h.trim_start_matches('<')).collect();
        let widths: Vec<usize> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let cells = self.rows.iter().map(|row| row[at].chars().count());
                cells.chain([name.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let header = self.aligned(&names, &widths);
        match colours() {
            true => line(&format!("\x1b[1m{header}\x1b[0m"))?,
            false => line(&header)?,
        }
        self.rows.iter().try_for_each(|row| {
            line(&self.aligned(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths))
        })
    }

    fn aligned(&self, cells: &[&str], widths: &[usize]) -> String {
        let cell = |(at, cell): (usize, &&str)| match self.header[at].starts_with('<') {
            true => format!("{cell:<width$}", width = widths[at]),
            false => format!("{cell:>width$}", width = widths[at]),
        };
        let cells: Vec<String> = cells.iter().enumerate().map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    }
}

/// Whether stdout shows colours and they are wanted (<https://no-color.org>).
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
