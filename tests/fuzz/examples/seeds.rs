//! Writes the binary inputs that fuzzing begins with, made by the encoders themselves:
//! `cargo run --release --example seeds`, in `tests/fuzz`.

use prost::Message;
use std::path::Path;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self, Money};
use weir_proto::{
    Adjustment, AdjustmentKind, Answer, BatchBuilder, Billing, Charge, ChargeRef, Command, Crossings,
    Currency, DropReason, Dropped, EntryKind, EventKind, Fate, Guid, Letter, MessageId, Minute, Nanos,
    NewEvent, Notice, NoticeKind, Origin, Outcome, Provenance, Record, RefuseReason, StageId, Takeover,
    Topic,
};

const ULID: &str = "01KDWFZY7JAJ06BJH5MKP4EFSR";

fn main() -> std::io::Result<()> {
    let records = records();
    for (name, bytes) in &records {
        seed("record", name, bytes)?;
    }
    let mut builder = BatchBuilder::default();
    seed("batch", "empty", &builder.take())?;
    for (position, (_, bytes)) in (5..).zip(records.iter().filter(|(_, bytes)| bytes.len() < 120)) {
        builder.push(Provenance { position, index: 0 }, &[bytes]);
    }
    let batch = builder.take();
    seed("batch", "records", &batch)?;
    for (name, command) in commands() {
        seed("command", name, &[&[0], &command.encode_to_vec()[..]].concat())?;
        seed("submit", name, &command.encode_to_vec())?;
    }
    let rewind = rpc::RewindRequest { to_minute: 29_454_360, rules: "{}".to_owned(), ..Default::default() };
    seed("command", "rewind", &[&[2], &rewind.encode_to_vec()[..]].concat())?;
    let dead = rpc::DecideDeadRequest { ids: vec!["charges/1/3/120".to_owned()], ..Default::default() };
    seed("command", "dead", &[&[3], &dead.encode_to_vec()[..]].concat())?;
    for (name, text) in [
        ("guid", ULID),
        ("id", "charges/1/3/120"),
        ("time", "2026-01-01T12:00:59+02:00"),
        ("minute", "2026-01-01T10:00"),
        ("amount", "-12.500000001"),
        ("currency", "EUR"),
        ("stage", "anti-brush"),
        ("billing", "cps"),
    ] {
        seed("text", name, text.as_bytes())?;
    }
    let numbers: Vec<u8> = (0..160).map(|n: u8| n.wrapping_mul(37)).collect();
    seed("money", "numbers", &numbers)?;
    seed("event", "numbers", &[&numbers[..], &numbers[..]].concat())?;
    credentials()?;
    frames(&batch)?;
    for (name, bytes) in &records {
        seed("tap", name, bytes)?;
    }
    for (at, source) in FILTERS.iter().enumerate() {
        let (_, record) = &records[at % records.len()];
        seed("filter", &format!("{at:02}"), &[source.as_bytes(), b"\n", record].concat())?;
    }
    Ok(())
}

/// What the target `credential` reads: a byte for what it is, and that.
fn credentials() -> std::io::Result<()> {
    seed("credential", "token", b"\0AQEAAAABZwF1AawCJAMAAQNFVVIADGh0dHBzOi8vYS5iL4AB")?;
    seed(
        "credential",
        "claims",
        b"\x01\x01g\x01u\x01\xac\x02\x24\0\x05\x01\x03EUR\0\x0chttps://a.b/\x80\xcf\xdb\xc9\xb7\x33",
    )?;
    let reference = [&[2; 17][..], &1_767_265_200_000u64.to_le_bytes()].concat();
    seed("credential", "reference", &reference)?;
    let request = rpc::IssueRequest {
        guid: ULID.to_owned(),
        advertiser_id: 36,
        campaign_id: 100_285,
        ad_id: 7,
        billing: "cpc".to_owned(),
        bid_micros: 540_000,
        currency: "EUR".to_owned(),
        slot: "article_sidebar".to_owned(),
        landing_url: "https://bücher.example/straße?q=ö#ä".to_owned(),
        lifetime_s: 60,
        ..rpc::IssueRequest::default()
    };
    seed("credential", "request", &[&[3], &request.encode_to_vec()[..]].concat())?;
    let key = [&1u32.to_le_bytes()[..], &5u64.to_le_bytes(), &[7; 32]].concat();
    seed("credential", "keys", &[&[4], &1u32.to_le_bytes()[..], &key].concat())
}

/// A good expression for the record of the same place in [`records`].
const FILTERS: [&str; 11] = [
    "kind == 'impression' && ad_id > 1000",
    "origin_guid.startsWith('01') || sale_micros >= 5",
    "ip == '2001:db8::1' && currency != null",
    "tick > 5",
    r#"advertiser_id == 36 && outcome == "refused""#,
    "reason in ['malformed', 'bot'] ? raw.size() > 3 : stage == 'collect'",
    "balance_nanos < 0 && notice.matches('^low')",
    "amount_nanos / 0 == 1 || provenance.offset % 2 == 1",
    "attempt * 2 > 5 && id.contains('charges')",
    "['a', 'b'].exists(r, r == command) || key != ''",
    "!repeated && timestamp('2026-01-01T00:00:00Z') < timestamp(string(time_ms))",
];

/// Writes an input.
fn seed(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let dir = Path::new("corpus").join(target);
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join(name), bytes)
}

fn event<'a>(guid: &'a str, kind: EventKind, ip: &str) -> NewEvent<'a> {
    NewEvent {
        guid: Guid::parse(guid).expect("a guid"),
        event_time_ms: 1_767_261_599_986,
        ingest_time_ms: 1_767_261_600_001,
        kind,
        user_id: "u22d8",
        ip: ip.parse().expect("an address"),
        ua: "Mozilla/5.0 …",
        ad_id: 1_000_028_503,
        campaign_id: 100_285,
        advertiser_id: 36,
        slot: "article_sidebar",
        region: "FR-IDF",
        channel: "partner",
        app_version: "8.18.6",
        bid_micros: 544_880,
        billing: Billing::Cpm,
        origin: None,
        reported: false,
        currency: None,
    }
}

fn records() -> Vec<(&'static str, Vec<u8>)> {
    let bytes = |event: NewEvent<'_>| {
        let mut out = Vec::new();
        event.encode(&mut out);
        out
    };
    let eur = Currency::parse("EUR");
    let origin = Some(Origin { guid: ULID, sale_micros: 49_990_000 });
    let sale = NewEvent {
        origin,
        reported: true,
        billing: Billing::Cps,
        currency: eur,
        ..event("s-1", EventKind::Sale, "0.0.0.0")
    };
    let click = event(ULID, EventKind::Click, "22.186.217.44");
    let charge = Charge {
        guid: Guid::Text("s-1"),
        outcome: Outcome::Refused(RefuseReason::DailyBudget),
        kind: EntryKind::Sale,
        billing: Some(Billing::Cps),
        event_time_ms: 1_767_261_599_986,
        ad_id: 7,
        campaign_id: 100_285,
        advertiser_id: 36,
        amount: Nanos(5_000_000_001),
        balance_after: Nanos(-6),
        crossings: Crossings::default(),
        currency: eur.unwrap_or_default(),
        utc_offset_minutes: -210,
        original: ULID,
    };
    let (charge, texts) = charge.encode();
    let dropped = Dropped {
        stage: StageId::Collect,
        reason: DropReason::Malformed,
        detail: "missing field `guid`",
        raw: b"{\"kind\":1}",
        event: None,
    };
    let (dropped, parts) = dropped.encode();
    let notice = Notice {
        kind: NoticeKind::LowBalance,
        advertiser_id: 36,
        event_time_ms: 1_767_261_599_986,
        balance: Nanos(-1),
        campaign_id: 100_285,
    };
    let takeover =
        Takeover { worker: 2, partition: 3, time_ms: 1_767_261_599_986, took_ms: 1_200, behind: 3_034 };
    let adjustment = Adjustment {
        kind: AdjustmentKind::Change,
        guid: Guid::Text("s-1"),
        advertiser_id: 36,
        event_time_ms: 1_767_261_599_986,
        partition: 3,
        original: ChargeRef { generation: 1, offset: 5 },
        new: ChargeRef { generation: 2, offset: 7 },
        before: Nanos(8),
        after: Nanos(-9),
        currency: eur.unwrap_or_default(),
    };
    let (adjustment, guid) = adjustment.encode();
    let letter = Letter {
        id: MessageId { topic: Topic::Charges.of(1), partition: 3, offset: 120 },
        fate: Fate::Retry,
        attempt: 6,
        time_ms: 7,
        next_time_ms: 8,
        advertiser_id: 36,
        guid: Guid::Text("s-1"),
        at_stake: Nanos(10),
        reason: "503 Service Unavailable: später",
    };
    let (letter, said) = letter.encode();
    let answer = Answer {
        key: "invoice-4711",
        advertiser_id: 36,
        time_ms: 7,
        outcome: Outcome::Charged,
        is_repeated: true,
        amount: Nanos(-8),
        balance_after: Nanos(9),
        currency: Currency::default(),
    };
    let (answer, key) = answer.encode();
    let (_, command) = commands().swap_remove(0);
    vec![
        ("impression", bytes(event("my-own-id", EventKind::Impression, "2001:db8::1"))),
        ("sale", bytes(sale)),
        ("click", bytes(click)),
        ("tick", Record::encode_tick(Minute(29_454_360)).to_vec()),
        ("charge", [&charge[..], texts[0].as_bytes(), texts[1].as_bytes()].concat()),
        ("dropped", [&dropped[..], &parts.concat()].concat()),
        ("notice", notice.encode().to_vec()),
        ("takeover", takeover.encode().to_vec()),
        ("adjustment", [&adjustment[..], guid.as_bytes()].concat()),
        ("letter", [&letter[..], said[0].as_bytes(), said[1].as_bytes()].concat()),
        ("command", Command::encode(&command)),
        ("answer", [&answer[..], key.as_bytes()].concat()),
    ]
}

fn commands() -> Vec<(&'static str, rpc::Command)> {
    let money = |units, nanos| Money { currency_code: "EUR".to_owned(), units, nanos };
    let open = rpc::OpenAccount {
        balance: Some(money(1000, 0)),
        time_zone: "Europe/Berlin".to_owned(),
        daily_budget: Some(money(50, 0)),
        credit_line: Some(money(0, 500_000_000)),
        low_balance: vec![money(10, 0)],
        brought_forward: false,
    };
    let campaign = rpc::Campaign {
        campaign_id: 100_285,
        billing: "cpt".to_owned(),
        price: Some(money(2, 1)),
        starts_ms: 1_767_261_600_000,
        ends_ms: 1_767_348_000_000,
        ..rpc::Campaign::default()
    };
    let refund = rpc::Refund {
        guid: ULID.to_owned(),
        amount: Some(money(1, 0)),
        reason: "broken landing page".to_owned(),
        original: None,
    };
    let reply = rpc::Reply {
        message_id: "charges/1/3/120".to_owned(),
        status: rpc::reply::Status::Reverse.into(),
        amount: 2000,
        scale: 3,
        currency_code: "EUR".to_owned(),
        ..rpc::Reply::default()
    };
    let command = |action| rpc::Command {
        key: "invoice-4711".to_owned(),
        advertiser_id: 36,
        time_ms: 1_767_261_600_000,
        action: Some(action),
    };
    vec![
        ("top-up", command(Action::TopUp(money(250, 500_000_000)))),
        ("open", command(Action::Open(open))),
        ("campaign", command(Action::Campaign(campaign))),
        ("refund", command(Action::Refund(refund))),
        ("reply", command(Action::Reply(reply))),
        ("freeze", command(Action::Freeze(rpc::Freeze { frozen: true }))),
    ]
}

/// Frames of a batch, and topics of them.
fn frames(batch: &[u8]) -> std::io::Result<()> {
    let stored = &batch[..batch.len().min(200)];
    let mut head = [0; 72];
    head[11] = StageId::Collect as u8;
    head[16] = 1;
    head[20] = 3;
    head[24] = stored.len() as u8;
    let plain = [&weir_fuzz::sealed_frame(head, stored)[..], stored].concat();
    seed("frame", "plain", &plain)?;
    // An LZ4 block: one literal "a", then 24 times the byte before it, then five literals.
    let block = [0x1f, b'a', 1, 0, 5, 0x50, b'b', b'c', b'd', b'e', b'f'];
    head[10] = 1;
    head[24] = 30;
    seed("frame", "lz4", &[&weir_fuzz::sealed_frame(head, &block)[..], &block].concat())?;
    let write = |partition: u8, stored: &[u8]| {
        let mut head = head;
        (head[8], head[10], head[24]) = (partition, 0, stored.len() as u8);
        [&[0][..], &head, &[stored.len() as u8], stored].concat()
    };
    let small = [1, 2, 3, 0, 0, 3, 3, 0, 0, 0];
    let both = [write(0, &small), write(1, &small)].concat();
    seed("segment", "both", &both)?;
    seed("segment", "torn", &[&both[..], &[5, 7]].concat())?;
    seed("segment", "two", &[&both[..], &[2], &both].concat())?;
    seed("segment", "strange", &[&both[..], &[1, 4, 9, 9, 9, 9, 4, 3], &both].concat())
}
