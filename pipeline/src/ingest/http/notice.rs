//! The parameters of beacons. What is not known is ignored: nothing that stands beside a credential has a say.

use std::borrow::Cow;
use url::form_urlencoded;

/// What `/win` is called with: the credential and the macros of OpenRTB, substituted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice<'a> {
    /// `t`, the credential.
    pub token: Cow<'a, str>,
    /// `price`, `${AUCTION_PRICE}`.
    pub price: Cow<'a, str>,
    /// `bid`, `${AUCTION_BID_ID}`.
    pub bid: Cow<'a, str>,
    /// `imp`, `${AUCTION_IMP_ID}`.
    pub imp: Cow<'a, str>,
    /// `mult`, `${AUCTION_MULTIPLIER}`; 1 if empty.
    pub mult: Cow<'a, str>,
}

/// A parameter is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is missing or empty.
    #[error("the parameter `{0}` is missing or empty")]
    Missing(&'static str),
    /// It is there twice.
    #[error("the parameter `{0}` is there more than once")]
    Repeated(&'static str),
    /// Nobody put a value in its place.
    #[error("the macro in the parameter `{0}` was not substituted")]
    Macro(&'static str),
}

impl Wrong {
    /// Its name.
    pub fn parameter(self) -> &'static str {
        let (Wrong::Missing(name) | Wrong::Repeated(name) | Wrong::Macro(name)) = self;
        name
    }
}

impl<'a> Notice<'a> {
    /// The parameters of a notice.
    pub fn parse(query: &'a str) -> Result<Self, Wrong> {
        let [token, price, bid, imp, mult] = parameters(query, ["t", "price", "bid", "imp", "mult"])?;
        Ok(Notice {
            token: token.ok_or(Wrong::Missing("t"))?,
            price: price.ok_or(Wrong::Missing("price"))?,
            bid: bid.ok_or(Wrong::Missing("bid"))?,
            imp: imp.ok_or(Wrong::Missing("imp"))?,
            mult: mult.unwrap_or_default(),
        })
    }
}

/// The credential of a click or an impression.
pub(super) fn token(query: &str) -> Result<Cow<'_, str>, Wrong> {
    let [token] = parameters(query, ["t"])?;
    token.ok_or(Wrong::Missing("t"))
}

fn parameters<'a, const N: usize>(
    query: &'a str,
    names: [&'static str; N],
) -> Result<[Option<Cow<'a, str>>; N], Wrong> {
    let mut found: [Option<Cow<'a, str>>; N] = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(at) = names.iter().position(|known| *known == name) else { continue };
        if found[at].is_some() {
            return Err(Wrong::Repeated(names[at]));
        }
        if value.contains("${") {
            return Err(Wrong::Macro(names[at]));
        }
        found[at] = Some(value);
    }
    // An empty value is kept until here, so that a second one is noticed.
    Ok(found.map(|value| value.filter(|value| !value.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read() {
        let read = Notice::parse("t=T&price=0.52&bid=b%201&imp=1&mult=&x=y&url=http://evil.example").unwrap();
        let expected = ["T", "0.52", "b 1", "1", ""].map(Cow::Borrowed);
        assert_eq!([read.token, read.price, read.bid, read.imp, read.mult], expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, wrong) in [
            ("", Wrong::Missing("t")),
            ("t=&price=1&bid=b&imp=1", Wrong::Missing("t")),
            ("t=T&bid=b&imp=1", Wrong::Missing("price")),
            ("t=T&t=&price=1&bid=b&imp=1", Wrong::Repeated("t")),
            ("t=T&price=${AUCTION_PRICE}&bid=b&imp=1", Wrong::Macro("price")),
            ("t=T&price=1&bid=%24%7BAUCTION_BID_ID%7D&imp=1", Wrong::Macro("bid")),
            ("t=T&price=1&bid=b&imp=1&mult=${AUCTION_MULTIPLIER}", Wrong::Macro("mult")),
        ] {
            assert_eq!(Notice::parse(query), Err(wrong), "{query}");
        }
        assert_eq!(token("url=http://evil.example"), Err(Wrong::Missing("t")));
    }
}
