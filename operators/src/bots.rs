//! Which user agents are programs: a public list of crawlers plus a few words of our own.

use std::sync::Arc;

use aho_corasick::{Anchored, automaton::Automaton, automaton::StateID, dfa::DFA};
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::{ParserBuilder, hir::literal::Extractor};

/// A program mostly names itself by one of these, in any case, whether the list knows it or not.
#[rustfmt::skip]
const WORDS: [&str; 17] = [
    "bot", "spider", "crawl", "scrap", "headless", "://", "curl/", "python", "http-client", "httpclient",
    "fetcher", "archiver", "validator", "checker", "monitor", "link preview", "linkpreview",
];

/// Patterns of the list that hit people: a build of Android 15, browsers in apps, Sogou, a phone.
const UNUSED: [&str; 5] = [r"AP3A\.240617\.008", "MetaIAB Facebook", "Viber", "Sogou", r"008\/"];

/// The shipped list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BotListError {
    /// It is not JSON of the expected shape.
    #[error("crawler-user-agents.json: expected an array of regular expressions: {0}")]
    Json(#[from] serde_json::Error),
    /// One of its patterns cannot be searched for.
    #[error("crawler-user-agents.json: pattern {0:?}: {1}")]
    Pattern(String, String),
    /// The words of all of it do not make an automaton.
    #[error("crawler-user-agents.json: no automaton: {0}")]
    Automaton(String),
}

/// What proves a hit of the automaton, which ignores case; one of our words needs no proof.
type Proof = Option<Regex>;

struct Table {
    automaton: DFA,
    start: StateID,
    proofs: Vec<Proof>,
}

/// Tells bots from people by the user agent alone. Cloning is cheap.
#[derive(Clone)]
pub struct BotList(Arc<Table>);

impl BotList {
    /// The list that ships with Weir and our own words. Takes some 20 ms.
    pub fn builtin() -> Result<Self, BotListError> {
        let mut found: Vec<_> = WORDS.map(|w| (w.as_bytes().to_vec(), None)).into();
        let list = include_str!("../data/crawler-user-agents.json");
        for pattern in serde_json::from_str::<Vec<String>>(list)? {
            if !UNUSED.contains(&pattern.as_str()) {
                found.extend(compile(&pattern).map_err(|e| BotListError::Pattern(pattern, e))?);
            }
        }
        let (literals, proofs): (Vec<_>, _) = found.into_iter().unzip();
        let automaton = DFA::builder().ascii_case_insensitive(true).build(literals);
        let automaton = automaton.map_err(|e| BotListError::Automaton(e.to_string()))?;
        let start =
            automaton.start_state(Anchored::No).map_err(|e| BotListError::Automaton(e.to_string()))?;
        Ok(Self(Arc::new(Table { automaton, start, proofs })))
    }

    /// Is it a bot? A user agent that is empty or `-` is one: every browser sends its name.
    pub fn is_bot(&self, ua: &str) -> bool {
        let (dfa, mut state) = (&self.0.automaton, self.0.start);
        for (at, &byte) in ua.as_bytes().iter().enumerate() {
            state = dfa.next_state(Anchored::No, state, byte);
            if dfa.is_special(state) && dfa.is_match(state) && self.proven(ua, state, at + 1) {
                return true;
            }
        }
        matches!(ua.trim(), "" | "-")
    }

    fn proven(&self, ua: &str, state: StateID, end: usize) -> bool {
        let dfa = &self.0.automaton;
        (0..dfa.match_len(state)).map(|i| dfa.match_pattern(state, i)).any(|pattern| {
            self.0.proofs[pattern].as_ref().is_none_or(|regex| regex.is_match(ua.as_bytes()))
                && !names_a_device(ua, end - dfa.pattern_len(pattern), end)
        })
    }
}

/// The literals that a pattern starts with, each with the pattern as its proof.
fn compile(pattern: &str) -> Result<Vec<(Vec<u8>, Proof)>, String> {
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
    let hir = parser.parse(pattern).map_err(|e| e.to_string())?;
    let starts = Extractor::new().extract(&hir);
    let starts = starts.literals().unwrap_or_default();
    if starts.is_empty() || starts.iter().any(|l| l.len() < 3) {
        return Err("must start with at least 3 fixed characters".into());
    }
    // What contains one of our words is found by that word; a smaller automaton stays in cache.
    if starts.iter().all(|l| has_word(l.as_bytes())) {
        return Ok(Vec::new());
    }
    let regex = RegexBuilder::new(pattern).unicode(false).build().map_err(|e| e.to_string())?;
    Ok(starts.iter().map(|l| (l.as_bytes().to_vec(), Some(regex.clone()))).collect())
}

fn has_word(literal: &[u8]) -> bool {
    let literal = literal.to_ascii_lowercase();
    WORDS.iter().any(|w| literal.windows(w.len()).any(|part| part == w.as_bytes()))
}

/// Phones are called `CUBOT`, `Fever` or `ViewSonic`: `(Linux; Android 9; en-US; Fever 5 Build/..)`.
fn names_a_device(ua: &str, start: usize, end: usize) -> bool {
    let cubot = ua.get(start.saturating_sub(2)..end);
    let list = ua.get(..start).and_then(|s| s.rsplit('(').next()).unwrap_or_default();
    let android = list.contains("ndroid ") || list.contains("dpi; ");
    cubot.is_some_and(|name| name.eq_ignore_ascii_case("cubot"))
        || android && !list.contains(')') && !list.contains("compatible")
}

/// Remembers what a [`BotList`] said of the last user agents: two places for each hash, the last
/// used in front. It answers only for the very same text and list, so it never changes a decision.
pub struct BotCache {
    list: Option<BotList>,
    sets: Vec<[Seen; 2]>,
}

type Seen = Option<(Box<[u8]>, bool)>;

impl Default for BotCache {
    fn default() -> Self {
        Self::new(4096)
    }
}

impl BotCache {
    /// A cache of `capacity` user agents, rounded up to a power of two, of at most 1 KiB each.
    pub fn new(capacity: usize) -> Self {
        Self { list: None, sets: vec![[None, None]; capacity.div_ceil(2).next_power_of_two()] }
    }

    /// What the list says of a user agent, given as UTF-8.
    pub fn is_bot(&mut self, list: &BotList, ua: &[u8]) -> bool {
        let judge = || list.is_bot(&String::from_utf8_lossy(ua));
        if ua.len() > 1024 {
            return judge();
        }
        if !self.list.as_ref().is_some_and(|l| Arc::ptr_eq(&l.0, &list.0)) {
            self.sets.fill([None, None]);
            self.list = Some(list.clone());
        }
        let set = hash(ua) as usize & (self.sets.len() - 1);
        let [front, back] = &mut self.sets[set];
        let holds = |s: &Seen| s.as_ref().is_some_and(|s| *s.0 == *ua);
        if !holds(front) {
            std::mem::swap(front, back);
        }
        if !holds(front) {
            *front = Some((ua.into(), judge()));
        }
        front.as_ref().is_some_and(|s| s.1)
    }
}

/// Only spreads texts over the cache, so a forged collision costs time and nothing else.
fn hash(text: &[u8]) -> u64 {
    let mix = |h: u64, chunk: u128| {
        let (low, high) = (chunk as u64 ^ h, (chunk >> 64) as u64 ^ 0x9E37_79B9_7F4A_7C15);
        let product = u128::from(low ^ 0xD6E8_FEB8_6659_FD93) * u128::from(high);
        product as u64 ^ (product >> 64) as u64
    };
    let (chunks, rest) = text.as_chunks::<16>();
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    let first = mix(text.len() as u64, u128::from_le_bytes(last));
    chunks.iter().fold(first, |h, chunk| mix(h, u128::from_le_bytes(*chunk)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first four are bots.
    const UAS: [&str; 9] = [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (Linux; Android 10; CUBOT X30) Chrome/99.0 (compatible; bingBOT/2.0)",
        "okhttp/4.12.0",
        " - ",
        "Mozilla/5.0 (Linux; Android 10; Cubot X30) Chrome/99.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 9; wv) Chrome/99.0 [FBAN/FB4A;FBMF/CUBOT;FBDV/X30]",
        "Mozilla/5.0 (Linux; U; Android 9; de-DE; ViewSonic My Bot Build/X1) Chrome/99.0",
        "Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) Chrome/142.0",
        "No browser, but as the list has it: OKHTTP is not okHTTP, and curl is not in front",
    ];

    #[test]
    fn a_cache_never_differs_from_its_list_and_the_list_knows_bots() {
        let (mut cache, list) = (BotCache::new(4), BotList::builtin().unwrap());
        for step in 0..1000 {
            let which = (step + step / 7) % UAS.len();
            assert_eq!(list.is_bot(UAS[which]), which < 4, "{}", UAS[which]);
            assert_eq!(cache.is_bot(&list, UAS[which].as_bytes()), which < 4, "{}", UAS[which]);
        }
    }
}
