//! `--where`: an expression in CEL over a record as it is shown.
//!
//! Fields are variables, `provenance` is a map. A field that a record does not have is null, and what
//! cannot be said of null (`null > 5`) is not true. Masks are what a filter sees where they are shown:
//! it must not tell who is behind them.

use super::fields::{Field, Kind, TICK, fields};
use cel::{Context, ExecutionError, ParseErrors, Program, Value as Cel};
use serde_json::{Value, json};
use std::collections::HashMap;
use weir_proto::Topic;

const EXAMPLE: &str = r#"Example: --where 'advertiser_id == 36 && outcome == "refused"'"#;
/// The longest expression, in bytes: one of many thousand parts would exhaust the stack.
const MOST: usize = 4_096;
const PROVENANCE: &str = "provenance";

/// A filter that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It is not CEL.
    #[error("--where cannot be understood at column {column}: {problem}. {EXAMPLE}")]
    Syntax {
        /// Where, counted from 1.
        column: isize,
        /// What is wrong.
        problem: String,
    },
    /// It is too long.
    #[error("--where has {0} bytes, and at most {MOST} are read. {EXAMPLE}")]
    TooLong(usize),
    /// It asks for something that no record of the topic has.
    #[error("--where asks for {name}, which no record of {topic} has. There are {known} and {PROVENANCE}")]
    UnknownField {
        /// The name.
        name: String,
        /// The topic.
        topic: Topic,
        /// The names that there are.
        known: String,
    },
    /// It does not say yes or no.
    #[error("--where must be true or false for a record; this one gives a value of type {given}. {EXAMPLE}")]
    NotBool {
        /// The type of what it gives.
        given: String,
    },
    /// It cannot be worked out.
    #[error("--where cannot be worked out: {0}. {EXAMPLE}")]
    Failed(#[from] ExecutionError),
}

/// Tells which records are wanted.
pub struct Filter {
    topic: Topic,
    program: Program,
    functions: Context<'static, 'static>,
    /// The fields that it asks for.
    asked: Vec<Field>,
    asks_provenance: bool,
}

impl Filter {
    /// Compiles an expression for the records of a topic.
    pub fn new(topic: Topic, source: &str) -> Result<Self, FilterError> {
        if source.len() > MOST {
            return Err(FilterError::TooLong(source.len()));
        }
        let program = Program::compile(source).map_err(|errors| syntax(&errors))?;
        let known: Vec<Field> = fields(topic).into_iter().chain(TICK).collect();
        let names: Vec<String> = program.references().variables().into_iter().map(str::to_owned).collect();
        let spaceless: String = source.split_whitespace().collect();
        for name in &names {
            // The variable of a macro such as `exists(x, …)` is no field.
            let is_local = spaceless.contains(&format!("({name},"));
            if name != PROVENANCE && !is_local && !known.iter().any(|f| f.name == name) {
                return Err(unknown(topic, name));
            }
        }
        let filter = Filter {
            topic,
            program,
            functions: Context::default(),
            asked: known.into_iter().filter(|f| names.iter().any(|n| n == f.name)).collect(),
            asks_provenance: names.iter().any(|n| n == PROVENANCE),
        };
        filter.rehearse()?;
        Ok(filter)
    }

    /// Whether a record, given as it is shown, is wanted.
    pub fn accepts(&self, row: &Value) -> Result<bool, FilterError> {
        let about_nothing = self.asked.iter().any(|f| row.get(f.name).is_none_or(Value::is_null));
        match self.execute(row) {
            Ok(Cel::Bool(wanted)) => Ok(wanted),
            Ok(Cel::Null) => Ok(false),
            Ok(other) => Err(FilterError::NotBool { given: other.type_of().to_string() }),
            Err(ExecutionError::UndeclaredReference(name)) => Err(unknown(self.topic, &name)),
            Err(_) if about_nothing => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Tries a record that has every field, so that most mistakes are found before there is output.
    fn rehearse(&self) -> Result<(), FilterError> {
        let sample = |field: &Field| match field.kind {
            Kind::Text => json!("text"),
            Kind::Flag => json!(true),
            Kind::Number | Kind::Money | Kind::Time => json!(1),
        };
        let mut row: Value = self.asked.iter().map(|f| (f.name.to_owned(), sample(f))).collect();
        row[PROVENANCE] = json!({
            "topic": "", "partition": 1, "offset": 1, "stage": "", "input_partition": 1, "generation": 1,
            "position": 1, "index": 1,
        });
        match self.accepts(&row) {
            Ok(_) => Ok(()),
            // These depend on the values.
            Err(FilterError::Failed(
                ExecutionError::DivisionByZero(_)
                | ExecutionError::RemainderByZero(_)
                | ExecutionError::Overflow(..)
                | ExecutionError::IndexOutOfBounds(_)
                | ExecutionError::FunctionError { .. },
            )) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn execute(&self, row: &Value) -> Result<Cel, ExecutionError> {
        let mut scope = self.functions.new_inner_scope();
        for field in &self.asked {
            let value = row.get(field.name).map_or(Cel::Null, |v| bound(v, field.kind));
            scope.add_variable_from_value(field.name, value);
        }
        if self.asks_provenance {
            let places = row.get(PROVENANCE).and_then(Value::as_object).into_iter().flatten();
            let places: HashMap<String, Cel> =
                places.map(|(name, v)| (name.clone(), bound(v, Kind::Text))).collect();
            scope.add_variable_from_value(PROVENANCE, places);
        }
        self.program.execute(&scope)
    }
}

/// A field's value for CEL. Numbers are ints, so that they compare with the numbers that people write.
fn bound(value: &Value, kind: Kind) -> Cel {
    match value {
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Cel::Int(n),
            (None, Some(n)) => Cel::UInt(n),
            _ => Cel::Null,
        },
        // An amount beyond 64 bits is a text in JSON; it still is more, or less, than any that fits.
        Value::String(digits) if kind == Kind::Money => {
            Cel::Int(if digits.starts_with('-') { i64::MIN } else { i64::MAX })
        }
        Value::String(text) => Cel::from(text.as_str()),
        Value::Null | Value::Array(_) | Value::Object(_) => Cel::Null,
    }
}

fn syntax(errors: &ParseErrors) -> FilterError {
    let Some(error) = errors.errors.first() else {
        return FilterError::Syntax { column: 1, problem: "it is empty".to_owned() };
    };
    // What the parser would have expected is a list too long to help.
    let problem = error.msg.trim_start_matches("Syntax error: ");
    let problem = problem.split(" expecting ").next().unwrap_or(problem);
    let problem = match problem {
        "mismatched input '<EOF>'" => "something is missing".to_owned(),
        other => other.replace("mismatched input", "unexpected").replace("extraneous input", "unexpected"),
    };
    FilterError::Syntax { column: error.pos.1, problem }
}

fn unknown(topic: Topic, name: &str) -> FilterError {
    let known: Vec<&str> = fields(topic).iter().map(|f| f.name).collect();
    FilterError::UnknownField { name: name.to_owned(), topic, known: known.join(", ") }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
