//! Reading: the example, and the message for each kind of mistake.

use std::path::PathBuf;

use super::names::{header, known};
use super::probe::Step;
use super::{Auth, Compression, Config, Credentials, Deliver, Ingest, Ledger, Mirror, Tls};

const EXAMPLE: &str = include_str!("../../../deploy/weir.example.toml");

/// The messages for `text`, one per line.
fn refused(text: &str) -> String {
    let errors = Config::parse("weir.toml", text).expect_err("must be refused");
    assert!(!errors.problems.is_empty());
    errors.to_string()
}

fn accepted(text: &str) -> Config {
    Config::parse("weir.toml", text).expect("must be accepted")
}

#[test]
fn the_example_and_an_empty_file_are_the_defaults() {
    assert_eq!(accepted(EXAMPLE), Config::default());
    assert_eq!(accepted(""), Config::default());
    assert_eq!(accepted("[accounts]").accounts, Some(Default::default()));
}

#[test]
fn the_commented_settings_of_the_example_are_right() {
    let uncommented = |text: &str| {
        let lines = text.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    // A worker of a group does without some of the rest.
    let (alone, group) = EXAMPLE.split_at(EXAMPLE.find("#[group]").unwrap());
    let shared = "[log]\nkind = 'kafka'\n[checkpoints]\nremote = 's3://weir/checkpoints'\n";
    let worker = accepted(&(shared.to_owned() + &uncommented(group)));
    assert_eq!(worker.group, Some(Default::default()));
    let config = accepted(&uncommented(alone));
    assert_eq!(config.accounts, Some(Default::default()));
    let url = "https://accounts.example.com/charges".to_owned();
    assert_eq!(config.deliver, Some(Deliver { url, ..Default::default() }));
    let url = "postgres://weir@ledger.example.com/weir?sslmode=require".to_owned();
    assert_eq!(config.ledger, Some(Ledger { url, ..Default::default() }));
    assert_eq!(config.ingest, Some(Ingest::default()));
    let (certificate, key) = ("weir.crt".into(), "weir.key".into());
    let client_ca = Some("clients.crt".into());
    assert_eq!(config.tls, Some(Tls { certificate, key, client_ca, mutual: Vec::new() }));
    assert_eq!(config.auth, Some(Auth { tokens: "tokens.toml".into() }));
    assert_eq!(config.credentials, Some(Credentials::default()));
    let url = "http://staging.example.com:9466/v1/events".to_owned();
    assert_eq!(config.mirror, Some(Mirror { url, ..Default::default() }));
    assert_eq!(config.enrichment, Some(Default::default()));
    assert_eq!(config.sources[0].path, PathBuf::from("/var/log/ads/*.ndjson"));
}

#[test]
fn the_example_has_every_key() {
    let has = |key: &str| {
        let settings = EXAMPLE.lines().map(|line| line.trim_start_matches('#'));
        let mut names = settings.map(|line| line.split([' ', ']']).next().unwrap_or_default());
        names.any(|name| name.trim_start_matches('[').rsplit('.').next() == Some(key))
    };
    let (mut sections, mut seen) = (vec![Vec::new()], 0);
    while let Some(section) = sections.pop() {
        for key in known(&section) {
            assert!(has(key), "{key} in {}", header(&section));
            seen += 1;
            let below = [section.clone(), vec![Step::Key((*key).to_owned())]].concat();
            let item = [below.clone(), vec![Step::Index(0)]].concat();
            sections.extend([below, item].into_iter().filter(|section| !known(section).is_empty()));
        }
    }
    assert_eq!(seen, 110);
}

#[test]
fn every_key_is_read() {
    let config = accepted(
        "data_dir = '/d'\npartitions = 0x400\nthreads = 4\nsource = [{ path = 'a' }]\n\
         listen.metrics = 'off'\nlisten.control = ''\ntime.max_ahead = '0ms'\n\
         anti_brush = { bots = false, datacenter_networks = ['n'] }\n\
         [log]\ncompression = 'none'\nsync_interval = '1s'\nsegment_mb = 4_096\n",
    );
    assert_eq!(config.data_dir, PathBuf::from("/d"));
    assert_eq!((config.partitions, config.threads), (1024, 4));
    assert_eq!(config.sources[0].path, PathBuf::from("a"));
    assert_eq!((config.listen.metrics, config.listen.control), (None, None));
    assert!(config.time.max_ahead.is_zero() && !config.anti_brush.bots);
    assert_eq!(config.anti_brush.datacenter_networks, [PathBuf::from("n")]);
    assert_eq!(config.log.compression, Compression::None);
    assert_eq!((config.log.segment_mb, config.log.sync_interval.as_millis()), (4096, 1000));
}

#[test]
fn the_structs_are_plain_serde_too() {
    let read = toml::from_str::<Config>(EXAMPLE);
    assert_eq!(read.ok(), Some(Config::default()));
    let error = toml::from_str::<Config>("partitions = 0").expect_err("out of range");
    let message = "invalid value: integer `0`, expected a whole number from 1 to 1024";
    assert_eq!(error.message(), message);
}

#[test]
fn unknown_keys() {
    let text = "partitons = 4\nspeed = 9\n[time]\nmax-ahead = '5m'\nthreads = 2\nx.y = 1\n\
                [log]\nbots = true\n[[source]]\npaths = 'a'\n[tiem]\na = 1\n[[sources]]\npath = 'b'\n";
    assert_eq!(
        refused(text),
        "weir.toml:1: unknown key `partitons` at the top of the file; did you mean `partitions`?\n\
         weir.toml:2: unknown key `speed` at the top of the file; remove it or use one of `data_dir`, `partitions`, `threads`, `source`, `accounts`, `listen`, `time`, `checkpoints`, `anti_brush`, `anti_fraud`, `state`, `log`, `deliver`, `ledger`, `ingest`, `tls`, `auth`, `credentials`, `mirror`, `enrichment`, `group`.\n\
         weir.toml:4: unknown key `max-ahead` in [time]; did you mean `max_ahead`?\n\
         weir.toml:5: unknown key `threads` in [time]; it belongs at the top of the file, before the first section.\n\
         weir.toml:6: unknown section [x] in [time]; remove it or use one of `clock`, `allowed_lateness`, `max_ahead`, `dedup_retention`.\n\
         weir.toml:8: unknown key `bots` in [log]; it belongs in [anti_brush].\n\
         weir.toml:10: unknown key `paths` in [[source]]; did you mean `path`?\n\
         weir.toml:11: unknown section [tiem] at the top of the file; did you mean `time`?\n\
         weir.toml:13: unknown section [[sources]] at the top of the file; did you mean `source`?"
    );
}

#[test]
fn wrong_values() {
    let text = "data_dir = 5\npartitions = 1025\nthreads = -1\nstate = 3\n[source]\npath = 'a'\n\
                [listen]\nmetrics = 'localhost'\n[time]\nmax_ahead = '5 m'\n[anti_brush]\n\
                bots = 'yes'\ndatacenter_networks = 'n'\nmax_per_ip_ad_minute = 1.5\n\
                [anti_fraud]\nmax_user_ads_10s = {}\n[log]\nkind = 'rabbit'\ncompression = 7\n\
                sync_interval = '2s'\nsegment_mb = 99999999999999999999\n[checkpoints]\n\
                every_hour_for = 2026-01-01\n";
    assert_eq!(
        refused(text),
        "weir.toml:1: `data_dir` is 5; it must be a path in quotes.\n\
         weir.toml:2: `partitions` is 1025; it must be a whole number from 1 to 1024.\n\
         weir.toml:3: `threads` is -1; it must be a whole number from 0 to 256.\n\
         weir.toml:4: `state` is 3; it must be a section, written [state].\n\
         weir.toml:5: `source` is not a list; write each of its sections as [[source]].\n\
         weir.toml:8: `listen.metrics` is 'localhost'; it must be an IP address and a port such as \"127.0.0.1:9464\", or \"off\".\n\
         weir.toml:10: `time.max_ahead` is '5 m'; it must be a duration from \"0ms\" to \"3650d\", in ms, s, m, h or d.\n\
         weir.toml:12: `anti_brush.bots` is 'yes'; it must be true or false.\n\
         weir.toml:13: `anti_brush.datacenter_networks` is 'n'; it must be a list in [ ].\n\
         weir.toml:14: `anti_brush.max_per_ip_ad_minute` is 1.5; it must be a whole number from 1 to 65000.\n\
         weir.toml:16: `anti_fraud.max_user_ads_10s` is a section; it must be a whole number from 1 to 65000.\n\
         weir.toml:18: `log.kind` is 'rabbit'; it must be \"embedded\", \"kafka\" or \"fluvio\".\n\
         weir.toml:19: `log.compression` is 7; it must be \"auto\", \"lz4\" or \"none\".\n\
         weir.toml:20: `log.sync_interval` is '2s'; it must be a duration from \"0ms\" to \"1s\", in ms, s, m, h or d.\n\
         weir.toml:21: `log.segment_mb` is 99999999999999999999; it must be a whole number from 1 to 4096.\n\
         weir.toml:23: `checkpoints.every_hour_for` is 2026-01-01; it must be a duration from \"0ms\" to \"3650d\", in ms, s, m, h or d."
    );
}

#[test]
fn wrong_items_of_lists() {
    let text = "source = [\n  'a',\n]\n[anti_brush]\ndatacenter_networks = [\n  'a',\n  1,\n]\n\
                [log]\nkind = '''\nlong'''\n";
    assert_eq!(
        refused(text),
        "weir.toml:2: `source[0]` is 'a'; it must be a section, written [[source]].\n\
         weir.toml:7: `anti_brush.datacenter_networks[1]` is 1; it must be a path in quotes.\n\
         weir.toml:10: `log.kind` is '''...; it must be \"embedded\", \"kafka\" or \"fluvio\"."
    );
}

#[test]
fn broken_syntax() {
    let text = "threads = \npartitions = 2\npartitions = 3\n[time]\nmax_ahead = 5m\n[log]\n[time]\nx = 1\n";
    assert_eq!(
        refused(text),
        "weir.toml:1: a value is missing after `=`.\n\
         weir.toml:3: `partitions` is set a second time; keep one of the two.\n\
         weir.toml:5: `5m` is not a number, true or false; put it in quotes: \"5m\".\n\
         weir.toml:7: the section [time] is here a second time; merge the two.\n\
         weir.toml:8: unknown key `x` in [time]; remove it or use one of `clock`, `allowed_lateness`, `max_ahead`, `dedup_retention`."
    );
    assert_eq!(
        refused("data_dir = 'a\nx = tru\nthreads = 'b'\n"),
        "weir.toml:1: this line is not TOML: invalid literal string, expected `'`.\n\
         weir.toml:2: this line is not TOML: invalid boolean, expected `true`.\n\
         weir.toml:3: `threads` is 'b'; it must be a whole number from 0 to 256."
    );
    assert_eq!(
        refused("[time\nx = 1\n"),
        "weir.toml:1: this line is not TOML: unclosed table, expected `]`."
    );
    assert_eq!(
        refused("data_dir = \"\"\"\n"),
        "weir.toml:1: this line is not TOML: invalid multi-line basic string, expected `\"`."
    );
}

#[test]
fn a_refused_value_is_not_judged_by_its_default() {
    let text = "[time]\ndedup_retenton = '9d'\n[checkpoints]\nevery_hour_for = '8d'\n\
                [[source]]\npath = 5\n";
    assert_eq!(
        refused(text),
        "weir.toml:2: unknown key `dedup_retenton` in [time]; did you mean `dedup_retention`?\n\
         weir.toml:6: `source[0].path` is 5; it must be a path in quotes."
    );
    let text = "time = 5\ncheckpoints.every_hour_for = '8d'";
    assert_eq!(refused(text).lines().count(), 1);
    let text = "[checkpoints]\nevery_hour_for = '8d'\n[time]\ndedup_retention = 9d";
    assert_eq!(refused(text).lines().count(), 1);
}
