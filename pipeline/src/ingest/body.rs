//! The body of `POST /v1/events`: events in an array of JSON, or one a line.
//!
//! An array is only taken apart here, at its commas; what stands between them is read as lines are. No recursion: a
//! body may be nested as deep as it likes.

/// A body of which not even the parts can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It has nothing in it.
    #[error("the body is empty; send an array of events, or an event a line")]
    Empty,
    /// It is neither.
    #[error("the body is neither a JSON array nor lines of JSON objects: it begins with {0:?}")]
    Neither(char),
    /// It ends too early.
    #[error("the JSON array has no end: the body was cut off, or a quote or a bracket is missing")]
    NoEnd,
    /// A value is missing.
    #[error("the JSON array has no value in front of the comma or bracket at byte {0}")]
    NoValue(usize),
    /// Something follows.
    #[error("something follows the JSON array at byte {0}")]
    Trailing(usize),
    /// There are more than are taken at once.
    #[error("there are more than {0} events (`ingest.max_events`); send them in several requests")]
    TooMany(usize),
}

/// The events of a body, so many at most; `is_lines` if the sender said that it has one a line.
pub fn split(body: &[u8], is_lines: bool, most: usize) -> Result<Vec<&[u8]>, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match body.trim_ascii_start().first() {
        None => Err(Unreadable::Empty),
        Some(b'[') if !is_lines => array(body, most),
        Some(b'{') => lines(body, most),
        Some(_) if is_lines => lines(body, most),
        Some(other) => Err(Unreadable::Neither(char::from(*other))),
    }
}

fn lines(body: &[u8], most: usize) -> Result<Vec<&[u8]>, Unreadable> {
    let mut found = Vec::new();
    for line in body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        push(&mut found, line, most)?;
    }
    Ok(found)
}

fn push<'a>(found: &mut Vec<&'a [u8]>, event: &'a [u8], most: usize) -> Result<(), Unreadable> {
    if found.len() >= most {
        return Err(Unreadable::TooMany(most));
    }
    found.push(event);
    Ok(())
}

fn array(body: &[u8], most: usize) -> Result<Vec<&[u8]>, Unreadable> {
    let start = body.iter().position(|byte| *byte == b'[').ok_or(Unreadable::NoEnd)? + 1;
    let (mut found, mut depth, mut begun, mut at) = (Vec::new(), 0usize, start, start);
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => at = end_of_string(body, at + 1).ok_or(Unreadable::NoEnd)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b',' | b']' if depth == 0 => {
                let value = body[begun..at].trim_ascii();
                let is_end = *byte == b']';
                match value.is_empty() {
                    // An array may have none.
                    true if is_end && found.is_empty() && begun == start => {}
                    true => return Err(Unreadable::NoValue(at)),
                    false => push(&mut found, value, most)?,
                }
                begun = at + 1;
                if is_end {
                    let rest = body[begun..].trim_ascii_start();
                    let is_last = rest.is_empty();
                    return if is_last {
                        Ok(found)
                    } else {
                        Err(Unreadable::Trailing(body.len() - rest.len()))
                    };
                }
            }
            _ => {}
        }
        at += 1;
    }
    Err(Unreadable::NoEnd)
}

/// Where the quote is that ends a string.
fn end_of_string(body: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', body.get(at..)?)?;
        if body[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str, is_lines: bool) -> Result<Vec<&str>, Unreadable> {
        let found = split(body.as_bytes(), is_lines, 5)?;
        Ok(found.into_iter().map(|event| std::str::from_utf8(event).unwrap()).collect())
    }

    #[test]
    fn arrays_and_lines_are_taken_apart() {
        let of = |body| texts(body, false).unwrap();
        assert_eq!(of(" [ ] "), [""; 0]);
        assert_eq!(of(r#"[{"a":[1,"],}"]} , 2]"#), [r#"{"a":[1,"],}"]}"#, "2"]);
        assert_eq!(of(r#"["\\","\"]"]"#), [r#""\\""#, r#""\"]""#]);
        assert_eq!(of("{\"a\":1}\r\n\n {\"b\":2}\n"), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(of("\u{feff}{}"), ["{}"]);
        assert_eq!(texts("[warn] x\n{}", true).unwrap(), ["[warn] x", "{}"]);
    }

    #[test]
    fn what_cannot_be_taken_apart_is_told() {
        for (body, wrong) in [
            ("", Unreadable::Empty),
            (" \n", Unreadable::Empty),
            ("x", Unreadable::Neither('x')),
            ("[", Unreadable::NoEnd),
            ("[{}", Unreadable::NoEnd),
            ("[{}, \"a]", Unreadable::NoEnd),
            ("[\"\\", Unreadable::NoEnd),
            ("[,]", Unreadable::NoValue(1)),
            ("[1,]", Unreadable::NoValue(3)),
            ("[1]]", Unreadable::Trailing(3)),
            ("[1] {}", Unreadable::Trailing(4)),
            ("[1,2,3,4,5,6]", Unreadable::TooMany(5)),
            ("{}\n{}\n{}\n{}\n{}\n{}", Unreadable::TooMany(5)),
        ] {
            assert_eq!(texts(body, false), Err(wrong), "{body}");
        }
        let deep = "[".repeat(1 << 20);
        assert_eq!(texts(&deep, false), Err(Unreadable::NoEnd));
    }
}
