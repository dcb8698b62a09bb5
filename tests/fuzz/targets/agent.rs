//! User agents: the cache says what the list says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::sync::LazyLock;
use weir_operators::bots::{BotCache, BotList};

static LIST: LazyLock<BotList> = LazyLock::new(|| BotList::builtin().expect("the list is shipped"));

thread_local! {
    static CACHE: RefCell<BotCache> = RefCell::new(BotCache::new(8));
}

fuzz_target!(|text: &str| {
    CACHE.with_borrow_mut(|cache| {
        for agent in text.split('\n') {
            let is_bot = LIST.is_bot(agent);
            assert_eq!(cache.is_bot(&LIST, agent.as_bytes()), is_bot);
            assert_eq!(cache.is_bot(&LIST, agent.as_bytes()), is_bot);
            assert!(is_bot || !matches!(agent.trim(), "" | "-"));
        }
    });
});
