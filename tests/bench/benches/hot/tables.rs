//! Tables by minute, with as many keys a minute as a partition of sixteen has.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::cell::RefCell;
use tempfile::TempDir;
use weir_operators::Rules;
use weir_proto::{Guid, Minute};
use weir_state::{Commit, Durability, Identity, IdentityTable, MinuteTable, Shared, Store};

const KEYS: u64 = 4096;
const MINUTE: Minute = Minute(29_454_360);

struct Table {
    table: MinuteTable<16, 2>,
    store: Store,
    _dir: TempDir,
}

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &Shared::new(64 << 20)).unwrap();
    (dir, store)
}

impl Table {
    fn new() -> Self {
        let (dir, store) = store();
        let table = MinuteTable::load(&store, 1, Rules::default().windows()).unwrap();
        Table { table, store, _dir: dir }
    }

    /// Counts the keys of a turn.
    fn count(&mut self, turn: u64) {
        for n in 0..KEYS {
            let key = spread(turn * KEYS + n).to_le_bytes();
            let count = |value: &mut [u8; 2]| value[0] = value[0].wrapping_add(1);
            self.table.update(&self.store, minute_of(turn), black_box(&key), count).unwrap();
        }
    }

    fn commit(&mut self, number: u64) {
        let mut commit = Commit::new(number);
        self.table.stage(&self.store, &mut commit).unwrap();
        self.store.commit(commit, Durability::FromLog).unwrap();
    }
}

/// A minute has five turns.
fn minute_of(turn: u64) -> Minute {
    Minute(MINUTE.0 + turn as u32 / 5)
}

/// Keys without an order.
fn spread(n: u64) -> u128 {
    let mixed = (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u128::from(mixed ^ mixed >> 29) << 64 | u128::from(mixed.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// A number for each turn; 0 was the turn before.
fn turns() -> impl FnMut() -> u64 {
    let mut turn = 0;
    move || {
        turn += 1;
        turn
    }
}

#[divan::bench]
fn minute_table_update_new(bencher: Bencher<'_, '_>) {
    let mut table = Table::new();
    let bench = bencher.counter(ItemsCount::new(KEYS)).with_inputs(turns());
    bench.bench_local_values(|turn| table.count(turn));
}

#[divan::bench]
fn minute_table_update_repeated(bencher: Bencher<'_, '_>) {
    let mut table = Table::new();
    (0..5).for_each(|turn| table.count(turn));
    table.commit(1);
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| table.count(2));
}

#[divan::bench]
fn minute_table_get(bencher: Bencher<'_, '_>) {
    let mut table = Table::new();
    (0..5).for_each(|turn| table.count(turn));
    let mut get = |n| table.table.get(&table.store, MINUTE, black_box(&spread(n).to_le_bytes())).unwrap();
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| (0..KEYS).filter(|n| get(*n).is_some()).count());
}

/// What a commit of a turn with new keys alone takes.
#[divan::bench]
fn minute_table_commit(bencher: Bencher<'_, '_>) {
    let table = RefCell::new(Table::new());
    let mut turns = turns();
    let bench = bencher.counter(ItemsCount::new(KEYS)).with_inputs(|| {
        let turn = turns();
        table.borrow_mut().table.tick(minute_of(turn));
        table.borrow_mut().count(turn);
        turn
    });
    bench.bench_local_values(|turn| table.borrow_mut().commit(turn));
}

/// An event that is decided for the first time.
#[divan::bench]
fn identity_get_and_insert(bencher: Bencher<'_, '_>) {
    let (_dir, store) = store();
    let mut table = identities(&store);
    let bench = bencher.counter(ItemsCount::new(KEYS)).with_inputs(turns());
    bench.bench_local_values(|turn| decide(&mut table, &store, turn));
}

/// A repeat.
#[divan::bench]
fn identity_get(bencher: Bencher<'_, '_>) {
    let (_dir, store) = store();
    let mut table = identities(&store);
    (0..5).for_each(|turn| decide(&mut table, &store, turn));
    let mut get = |n| table.get(&store, black_box(&identity(2, n))).unwrap();
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| (0..KEYS).filter(|n| get(*n).is_some()).count());
}

fn identities(store: &Store) -> IdentityTable {
    IdentityTable::load(store, 1, 2, Rules::default().identities()).unwrap()
}

fn decide(table: &mut IdentityTable, store: &Store, turn: u64) {
    for n in 0..KEYS {
        let id = identity(turn, n);
        if table.get(store, black_box(&id)).unwrap().is_none() {
            table.insert(store, &id, 1).unwrap();
        }
    }
}

fn identity(turn: u64, n: u64) -> Identity<'static> {
    let minute = minute_of(turn);
    let random = spread(turn * KEYS + n) & ((1 << 80) - 1);
    let guid = Guid::Ulid(u128::from(minute.start_ms() + n) << 80 | random);
    Identity { advertiser_id: n % 1250 + 1, guid, minute }
}
