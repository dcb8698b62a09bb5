//! Finding the records that are wrong: a batch that is refused is posted again in halves.

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The records are taken.
    Accepted,
    /// A record is wrong, with what was said about it.
    Refused(String),
    /// It failed for a reason outside of the records.
    Failed(String),
}

/// Posts items, in halves as long as they are refused; one answer for each.
pub fn settle<T>(items: &[T], post: &mut dyn FnMut(&[T]) -> Answer) -> Vec<Answer> {
    match post(items) {
        Answer::Refused(_) if items.len() > 1 => {
            let (left, right) = items.split_at(items.len() / 2);
            let mut answers = settle(left, post);
            // What has just failed would fail for the rest, too.
            match answers.last() {
                Some(Answer::Failed(reason)) => {
                    answers.resize(items.len(), Answer::Failed(reason.clone()));
                }
                _ => answers.extend(settle(right, post)),
            }
            answers
        }
        answer => vec![answer; items.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settles 0..count with some that are refused; the answers, and how many requests it took.
    fn run(count: u32, bad: &[u32]) -> (Vec<Answer>, usize) {
        let (items, mut requests): (Vec<u32>, usize) = ((0..count).collect(), 0);
        let answers = settle(&items, &mut |part| {
            requests += 1;
            match part.iter().any(|n| bad.contains(n)) {
                true => Answer::Refused("400".to_owned()),
                false => Answer::Accepted,
            }
        });
        (answers, requests)
    }

    #[test]
    fn exactly_the_wrong_records_are_found() {
        for bad in [&[][..], &[0], &[499], &[7, 8, 300]] {
            let (answers, requests) = run(500, bad);
            for (n, answer) in (0..).zip(&answers) {
                assert_eq!(matches!(answer, Answer::Refused(_)), bad.contains(&n), "{n}");
            }
            assert!(answers.len() == 500 && requests <= 1 + 2 * 9 * bad.len(), "{requests} requests");
        }
        assert_eq!(run(1, &[0]).0.len(), 1);
    }

    #[test]
    fn a_failure_on_the_way_ends_it_and_nothing_is_blamed() {
        let (items, mut requests): (Vec<u32>, usize) = ((0..8).collect(), 0);
        let answers = settle(&items, &mut |_| {
            requests += 1;
            if requests == 1 { Answer::Refused(String::new()) } else { Answer::Failed(String::new()) }
        });
        assert_eq!((answers, requests), (vec![Answer::Failed(String::new()); 8], 2));
    }
}
