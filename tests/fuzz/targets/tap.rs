//! What a tap, a delivery and the ledger make of a record: each of them can be shown in every format.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_pipeline::deliver::Message;
use weir_pipeline::tap::{Format, From, Personal, Printer, Row, Until};
use weir_proto::{MessageId, Producer, Provenance, Record, StageId, Topic};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = (text.parse::<From>(), text.parse::<Until>());
    }
    let Ok(record) = Record::decode(data) else { return };
    let topic = match &record {
        Record::Charge(_) => Topic::Charges,
        Record::Adjustment(_) => Topic::Adjustments,
        Record::Dropped(_) => Topic::Dropped,
        _ => Topic::Judged,
    };
    let id = MessageId { topic: topic.of(1), partition: 3, offset: 9 };
    let producer = Producer { stage: StageId::Deduct, partition: 3, generation: 1 };
    let provenance = Provenance { position: 7, index: 0 };
    let row = Row::at(&id, producer, provenance, &record, &Personal::Plain);
    for format in [Format::Jsonl, Format::Csv, Format::Table] {
        let mut out = Vec::new();
        let mut printer = Printer::new(format, topic, true, &mut out).expect("memory takes everything");
        printer.print(&row).expect("memory takes everything");
        printer.flush().expect("memory takes everything");
        drop(printer);
        let text = String::from_utf8(out).expect("what is shown is text");
        if format == Format::Jsonl {
            // One line, and the same as the value that a filter sees.
            assert_eq!(text.trim_end_matches('\n').lines().count(), 1);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).ok(), Some(row.value()));
        }
    }
    let message = Message { id, producer, provenance, bytes: data.to_vec() };
    let line = message.line().expect("it was read before");
    assert_eq!(line.json.iter().filter(|b| **b == b'\n').count(), 1);
    let is_outcome = matches!(record, Record::Charge(_) | Record::Adjustment(_));
    assert_eq!(message.about().is_ok(), is_outcome);
    let _ = message.is_brought_forward();
});
