//! The story of an event for people, from top to bottom.

use crate::explain::{Copy, Decision, Life, Line, Step, Story};
use jiff::Timestamp;
use serde_json::Value;
use weir_proto::{Minute, Nanos};

/// The whole story.
pub(super) fn text(story: &Story) -> String {
    let mut out = format!("{}\n", story.guid);
    for (nth, copy) in story.copies.iter().enumerate() {
        if story.copies.len() > 1 {
            out += &format!("\nCopy {} of {}\n", nth + 1, story.copies.len());
        }
        out += &told(copy);
    }
    for unread in &story.unread {
        out += "\nA line that collect could not take in\n";
        out += &origin(unread.line.as_ref());
        let record = &unread.record;
        out += &row("dropped", &format!("{}: {}", shown(record, "reason"), shown(record, "detail")));
        out += &row("", &place(record));
    }
    if !story.adjustments.is_empty() {
        out += "\nAdjustments\n";
    }
    for a in &story.adjustments {
        let (before, after) = (money(a, "before_nanos"), money(a, "after_nanos"));
        out += &row(&shown(a, "adjustment"), &format!("{before} → {after}: {}", shown(a, "reason")));
        out += &row("", &place(a));
    }
    out
}

fn told(copy: &Copy) -> String {
    let raw = &copy.raw;
    let mut out = row(
        &time(raw, "event_time_ms"),
        &format!(
            "{} on ad {} of campaign {}, advertiser {}; bid {} {}",
            shown(raw, "kind"),
            shown(raw, "ad_id"),
            shown(raw, "campaign_id"),
            shown(raw, "advertiser_id"),
            raw["bid_micros"].as_u64().map_or_else(String::new, |n| Nanos::from_micros(n).to_string()),
            shown(raw, "billing"),
        ),
    );
    out += &row("", &format!("user {}, from {}", shown(raw, "user_id"), shown(raw, "ip")));
    out += &origin(copy.line.as_ref());
    let tick = copy.before_tick.map_or(String::new(), |m| format!(", before the tick of {m}"));
    out += &row(&time(raw, "ingest_time_ms"), &format!("taken in by collect{tick}"));
    if let Some(rules) = &copy.rules {
        out += &row("", &format!("rules {rules}"));
    }
    out += &row("", &place(raw));
    for (nth, life) in copy.lives.iter().enumerate() {
        out += &lived(life, if nth == 0 { None } else { copy.lives.first() });
    }
    out
}

/// A life; of one in another generation only what is different.
fn lived(life: &Life, published: Option<&Life>) -> String {
    let mut out = match published {
        None => String::new(),
        Some(_) => format!("\n  In generation {} ({})\n", life.generation, life.standing),
    };
    let is_known = |s: &Step| published.is_some_and(|p| p.steps.contains(s));
    life.steps.iter().filter(|s| !is_known(s)).for_each(|step| out += &decided(step));
    if let (None, Some(last)) = (published, life.steps.last()) {
        out += &row(
            "outcome",
            &format!("{}; generation {} is {}", outcome(last), life.generation, life.standing),
        );
    }
    out
}

fn decided(step: &Step) -> String {
    let verdict = match (step.decision, step.reason) {
        (Decision::Passed, _) => "passed".to_owned(),
        (Decision::Charged | Decision::Refused | Decision::Dropped, _) => outcome(step),
        (Decision::Waits, _) => "waits".to_owned(),
        (Decision::NotKept, _) => "decided".to_owned(),
    };
    let mut out = row(step.stage, &format!("{verdict}: {}", step.rule));
    let tick = step.before_tick.map_or(String::new(), |m: Minute| format!(", before the tick of {m}"));
    let task =
        format!("partition {}, generation {}, rules {}{tick}", step.partition, step.generation, step.rules);
    out += &row("", &task);
    if let Some(waits) = &step.waits {
        let text = format!("the stage stands at {}, its input ends at {}", waits.position, waits.end);
        out += &row("", &text);
    }
    if let Some(record) = &step.record {
        if let Some(before) = step.balance_before_nanos {
            let after = money(record, "balance_after_nanos");
            out += &row("", &format!("price {}, balance {before} → {after}", money(record, "amount_nanos")));
        }
        out += &row("", &place(record));
    }
    if let Some(earlier) = &step.earlier {
        let decided = ["outcome", "reason"].map(|name| shown(earlier, name));
        let decided = decided.iter().filter(|t| *t != "-").cloned().collect::<Vec<_>>().join(" ");
        out += &row("", &format!("it repeats what was decided as {decided}"));
        out += &row("", &format!("  {}", place(earlier)));
    }
    out
}

fn outcome(step: &Step) -> String {
    let reason = step.reason.map_or(String::new(), |r| format!(" {r}"));
    match step.decision {
        Decision::Passed => format!("passed {}", step.stage),
        Decision::Dropped => format!("dropped{reason}"),
        Decision::Charged => {
            let amount = step.record.as_ref().map_or(String::new(), |r| money(r, "amount_nanos"));
            format!("charged {amount}")
        }
        Decision::Refused => format!("refused{reason}"),
        Decision::Waits => format!("not decided yet, it waits for {}", step.stage),
        Decision::NotKept => format!("decided by {}, past its retention", step.stage),
    }
}

fn origin(line: Option<&Line>) -> String {
    let Some(line) = line else { return row("line", "it is not known where the line stood") };
    let path = line.path.as_ref().map_or("a file".to_owned(), |p| clean(&p.display().to_string()));
    let length = line.bytes.map_or(String::new(), |n| format!(", {n} bytes"));
    let unit = if line.is_spooled { "record" } else { "byte" };
    let mut out = row("line", &format!("{path}, {unit} {}{length}", line.byte));
    if let Some(said) = line.problem.as_ref().or(line.text.as_ref().filter(|t| !t.ends_with("masked>"))) {
        out += &row("", &clean(said));
    }
    out
}

/// Where a record stands and what it was made of.
fn place(record: &Value) -> String {
    let p = &record["provenance"];
    format!(
        "→ {} partition {} offset {}, by {}-{} of generation {} from {} #{}",
        shown(p, "topic"),
        shown(p, "partition"),
        shown(p, "offset"),
        shown(p, "stage"),
        shown(p, "input_partition"),
        shown(p, "generation"),
        shown(p, "position"),
        shown(p, "index"),
    )
}

fn row(name: &str, text: &str) -> String {
    format!("  {name:<26}{text}\n")
}

fn time(record: &Value, name: &str) -> String {
    let ms = record[name].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    ms.map_or("-".to_owned(), |t| format!("{t:.3}"))
}

fn money(record: &Value, name: &str) -> String {
    shown(record, name).parse().map_or("-".to_owned(), |n| Nanos(n).to_string())
}

fn shown(record: &Value, name: &str) -> String {
    match &record[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => clean(text),
        other => other.to_string(),
    }
}

/// Text from outside must not steer the terminal.
fn clean(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
