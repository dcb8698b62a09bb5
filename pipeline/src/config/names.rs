//! What an unknown key was probably meant to be.

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::probe::{Probe, Refusal, Step};

/// The name of a key as messages show it, such as `source[0].path`.
pub(super) fn dotted(path: &[Step]) -> String {
    let mut name = String::new();
    for step in path {
        match step {
            Step::Index(index) => name += &format!("[{index}]"),
            Step::Key(key) if name.is_empty() => name += key,
            Step::Key(key) => name += &format!(".{key}"),
        }
    }
    name
}

/// The keys the section at `path` can have; none if it is not a section.
pub(super) fn known(path: &[Step]) -> &'static [&'static str] {
    let mut path = path.to_vec();
    path.push(Step::Key(String::new()));
    let empty = DeValue::Table(DeTable::new());
    match Config::deserialize(Probe::only(&path, &empty)) {
        Err(Refusal::Unknown(keys)) => keys,
        _ => &[],
    }
}

/// Describes the unknown key at the end of `path`, and names the key meant.
pub(super) fn unknown(path: &[Step], value: &DeValue<'_>) -> (String, Option<String>) {
    let Some((Step::Key(key), parent)) = path.split_last() else {
        return (String::new(), None);
    };
    let subject = format!("unknown {} {}", kind(key, value), place(parent));
    if let Some((home, meant)) = home(key, parent) {
        return (format!("{subject}; it belongs {home}."), Some(meant));
    }
    let known = known(parent);
    let Some(near) = nearest(key, known) else {
        let known: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
        let known = known.join(", ");
        return (format!("{subject}; remove it or use one of {known}."), None);
    };
    let mut meant = parent.to_vec();
    meant.push(Step::Key(near.to_owned()));
    let message = format!("{subject}; did you mean `{near}`?");
    (message, Some(dotted(&meant)))
}

fn kind(key: &str, value: &DeValue<'_>) -> String {
    let table = |value: &DeValue<'_>| value.is_table();
    match value {
        DeValue::Table(_) => format!("section [{key}]"),
        DeValue::Array(list) if list.iter().any(|item| table(item.get_ref())) => {
            format!("section [[{key}]]")
        }
        _ => format!("key `{key}`"),
    }
}

fn place(parent: &[Step]) -> String {
    if parent.is_empty() { "at the top of the file".to_owned() } else { format!("in {}", header(parent)) }
}

/// The line that opens the section at `path`.
pub(super) fn header(path: &[Step]) -> String {
    match path {
        [section @ .., Step::Index(_)] => format!("[[{}]]", dotted(section)),
        section => format!("[{}]", dotted(section)),
    }
}

/// Where else a key of exactly this name exists, and its full name there.
fn home(key: &str, parent: &[Step]) -> Option<(String, String)> {
    let top = known(&[]);
    if !parent.is_empty() && top.contains(&key) {
        let home = "at the top of the file, before the first section";
        return Some((home.to_owned(), key.to_owned()));
    }
    let holds = |section: &&&str| known(&[Step::Key((**section).to_owned())]).contains(&key);
    let section = top.iter().find(holds)?;
    Some((format!("in [{section}]"), format!("{section}.{key}")))
}

fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let near = |name: &&'static str| (distance(key, name), *name);
    let (distance, name) = known.iter().map(near).min()?;
    (distance <= (name.len() / 2).clamp(1, 3)).then_some(name)
}

/// The number of characters to insert, remove or replace.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, b) in to.chars().enumerate() {
            let above = row[j + 1];
            let kept = diagonal + usize::from(a != b);
            row[j] = left;
            left = kept.min(left + 1).min(above + 1);
            diagonal = above;
        }
        if let Some(last) = row.last_mut() {
            *last = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("partitons", "partitions"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("été", "ete"), 2);
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(nearest("bot", &["bots"]), Some("bots"));
        assert_eq!(nearest("hot_minute", &["hot_minutes", "hot_entries"]), Some("hot_minutes"));
        assert_eq!(nearest("speed", &["bots", "path"]), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn lists_the_keys_of_a_section() {
        assert_eq!(known(&[Step::Key("accounts".into())]), ["file"]);
        assert!(known(&[Step::Key("threads".into())]).is_empty());
        assert_eq!(known(&[Step::Key("source".into()), Step::Index(3)]), ["path"]);
    }
}
