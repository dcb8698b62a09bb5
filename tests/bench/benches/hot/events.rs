//! Lines, events, batches and digests, a turn of them at a time.

use crate::{RAW, TRAFFIC};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use weir_bench::traffic::{PARTITIONS, TURN, batch_of, collect};
use weir_operators::Outbox;
use weir_operators::bots::{BotCache, BotList};
use weir_operators::collect::Collect;
use weir_operators::outbox::digest_of;
use weir_pipeline::flow::COLLECT_WRITES;
use weir_proto::{Batch, Event, NewEvent, Producer, Provenance, Record, StageId};
use weir_state::TaskMeta;

/// From a line to a record in a batch of `raw`.
#[divan::bench]
fn parse_lines(bencher: Bencher<'_, '_>) {
    let lines = TRAFFIC.placed();
    let (before, lines) = lines[..2 * TURN].split_at(TURN);
    let task = Producer { stage: StageId::Collect, partition: 0, generation: 1 };
    let mut out = Outbox::resume(&TaskMeta::new(task, COLLECT_WRITES, PARTITIONS, 0));
    let mut begun = Collect::default();
    collect(&mut begun, before, &mut out);
    let bytes: usize = lines.iter().map(|(_, line)| line.len()).sum();
    bencher.counter(ItemsCount::new(TURN)).counter(BytesCount::new(bytes)).bench_local(|| {
        collect(&mut begun.clone(), black_box(lines), &mut out);
        out.take()
    });
}

fn events() -> impl Iterator<Item = Event<'static>> {
    let event = |record: &'static Vec<u8>| match Record::decode(record).unwrap() {
        Record::Event(event) => Some(event),
        _ => None,
    };
    RAW.iter().filter_map(event).take(TURN)
}

#[divan::bench]
fn bot_match(bencher: Bencher<'_, '_>) {
    let (list, agents) = (BotList::builtin().unwrap(), events().map(|e| e.ua()).collect::<Vec<_>>());
    let bench = bencher.counter(ItemsCount::new(TURN));
    bench.bench_local(|| agents.iter().filter(|agent| list.is_bot(black_box(agent))).count());
}

#[divan::bench]
fn bot_match_cached(bencher: Bencher<'_, '_>) {
    let (list, agents) = (BotList::builtin().unwrap(), events().map(|e| e.ua()).collect::<Vec<_>>());
    let mut cache = BotCache::default();
    let bench = bencher.counter(ItemsCount::new(TURN));
    bench.bench_local(|| {
        agents.iter().filter(|agent| cache.is_bot(&list, black_box(agent).as_bytes())).count()
    });
}

#[divan::bench]
fn event_encode(bencher: Bencher<'_, '_>) {
    let events: Vec<_> = events().map(as_new).collect();
    let mut out = Vec::new();
    let bench = bencher.counter(ItemsCount::new(TURN));
    bench.bench_local(|| events.iter().for_each(|event| black_box(event).encode(black_box(&mut out))));
}

/// With the fields that every stage asks for.
#[divan::bench]
fn event_decode(bencher: Bencher<'_, '_>) {
    let records = &RAW[..TURN];
    bencher.counter(ItemsCount::new(TURN)).bench_local(|| {
        for record in records {
            if let Record::Event(e) = Record::decode(black_box(record)).unwrap() {
                black_box((e.guid(), e.event_time_ms(), e.advertiser_id(), e.user_id(), e.ip(), e.ua()));
            }
        }
    });
}

#[divan::bench]
fn batch_build(bencher: Bencher<'_, '_>) {
    let records = &RAW[..TURN];
    bencher.counter(ItemsCount::new(TURN)).bench_local(|| batch_of(black_box(records)));
}

#[divan::bench]
fn batch_read(bencher: Bencher<'_, '_>) {
    let batch = batch_of(&RAW[..TURN]);
    let read = |batch| Batch::open(batch).unwrap().map(|r| r.unwrap().bytes.len()).sum::<usize>();
    bencher.counter(ItemsCount::new(TURN)).bench_local(|| read(black_box(&batch)));
}

#[divan::bench]
fn digest(bencher: Bencher<'_, '_>) {
    let records = &RAW[..TURN];
    let of = |(at, record): (usize, &Vec<u8>)| {
        digest_of(black_box(record), 3, at as u64, Provenance { position: at as u64, index: 0 })
    };
    let bench = bencher.counter(ItemsCount::new(TURN));
    bench.bench_local(|| records.iter().enumerate().map(of).fold(0, u128::wrapping_add));
}

fn as_new(e: Event<'_>) -> NewEvent<'_> {
    NewEvent {
        guid: e.guid(),
        event_time_ms: e.event_time_ms(),
        ingest_time_ms: e.ingest_time_ms(),
        kind: e.kind(),
        user_id: e.user_id(),
        ip: e.ip(),
        ua: e.ua(),
        ad_id: e.ad_id(),
        campaign_id: e.campaign_id(),
        advertiser_id: e.advertiser_id(),
        slot: e.slot(),
        region: e.region(),
        channel: e.channel(),
        app_version: e.app_version(),
        bid_micros: e.bid_micros(),
        billing: e.billing(),
        origin: e.origin(),
        reported: e.is_reported(),
        currency: e.currency(),
    }
}
