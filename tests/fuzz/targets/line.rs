//! Lines as ad front ends log them: each is taken in or dropped, once, and what is taken in keeps within the
//! documented limits. The input is a file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use weir_fuzz::{assert_kept, assert_shown, said};
use weir_operators::collect::{Collect, Piece, PlacedLine, TimeSource};
use weir_operators::{MAIN, Outbox, Rules};
use weir_proto::{Batch, Billing, DropReason, EventKind, Minute, Producer, Record, StageId, Topic};
use weir_state::TaskMeta;

const NOW: u64 = 1_767_261_600_000;

static EMPTY: LazyLock<TaskMeta> = LazyLock::new(|| {
    let task = Producer { stage: StageId::Collect, partition: 0, generation: 1 };
    TaskMeta::new(task, &[Topic::Raw, Topic::Dropped], 2, 0)
});

fuzz_target!(|data: &[u8]| {
    let lines: Vec<PlacedLine<'_>> = (1..).zip(data.split(|b| *b == b'\n').take(32)).collect();
    take_in(&lines, TimeSource::Wall(NOW));
    take_in(&lines, TimeSource::Events);
});

fn take_in(lines: &[PlacedLine<'_>], time: TimeSource) {
    let rules = Rules::default();
    let mut out = Outbox::resume(&EMPTY);
    let mut collect = Collect::default();
    if let TimeSource::Wall(now) = time {
        (collect.clock.0, collect.last_tick) = (now, Minute::of_ms(now));
    }
    let (mut done, mut ticks) = (0, 0);
    while done < lines.len() {
        let taken = collect.slice(Piece::whole(&lines[done..]), time, NOW, &rules, &mut out);
        done += taken.lines;
        if taken.lines == 0 {
            assert!(collect.tick_is_due(), "a turn must take in something or begin a minute");
            collect.tick(Minute::of_ms(collect.clock.0), done as u64, &mut out);
            ticks += 1;
            assert!(ticks <= lines.len());
        }
    }
    let (mut events, mut dropped) = (0, 0);
    for batch in out.take() {
        for record in Batch::open(&batch.bytes).expect("a batch") {
            match Record::decode(record.expect("a record").bytes).expect("what is written can be read") {
                Record::Event(event) => {
                    assert_eq!(batch.output, MAIN);
                    judge(&event);
                    events += 1;
                }
                Record::Dropped(d) => {
                    assert!(matches!(
                        d.reason,
                        DropReason::Malformed | DropReason::NotABill | DropReason::TooLate
                    ));
                    assert!(!d.detail.is_empty() && d.event.is_none());
                    dropped += 1;
                }
                Record::Tick(_) => {}
                other => panic!("collect made {other:?}"),
            }
        }
    }
    assert_eq!(events + dropped, lines.len());
    assert_eq!(out.tally().taken, lines.len() as u64);
}

fn judge(event: &weir_proto::Event<'_>) {
    assert_kept(&said(event));
    assert_shown(&event.guid());
    assert!(!event.guid().to_string().is_empty());
    // 2000 to 2100.
    assert!((946_684_800_000..4_102_444_800_000).contains(&event.event_time_ms()));
    assert!(!matches!(event.billing(), Billing::Cpt | Billing::Cpd));
    assert!(event.ua().len() <= 2048);
    let texts = [event.user_id(), event.slot(), event.region(), event.channel(), event.app_version()];
    assert!(texts.iter().all(|text| text.len() <= 255));
    assert_eq!(event.kind().has_origin(), event.origin().is_some());
    if let Some(origin) = event.origin() {
        assert!((1..=255).contains(&origin.guid.len()));
        let is_sale = event.kind() != EventKind::Action;
        assert_eq!((1..=1_000_000_000_000_000).contains(&origin.sale_micros), is_sale);
        assert_eq!(event.bid_micros(), 0);
        assert!(event.is_reported());
    }
}
