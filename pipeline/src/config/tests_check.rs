//! Checking: contradictions and files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::{Config, ConfigErrors};

fn refused(text: &str) -> String {
    let errors = Config::parse("weir.toml", text).expect_err("must be refused");
    errors.to_string()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn load(folder: &Path, text: &[u8]) -> Result<Config, ConfigErrors> {
    let file = folder.join("weir.toml");
    fs::write(&file, text).expect("write the configuration");
    Config::load(file)
}

/// The messages for `text` in `folder`, which is shown as `@`.
fn load_refused(folder: &Path, text: &str) -> String {
    let errors = load(folder, text.as_bytes()).expect_err("must be refused");
    errors.to_string().replace(&folder.display().to_string(), "@")
}

#[test]
fn forgetting_too_early() {
    let horizon = "`time.dedup_retention` (2d) is shorter than the replay horizon \
                   `checkpoints.every_hour_for` (3d), so a replay would charge again the clicks \
                   already forgotten; set it to 3d or more.";
    assert_eq!(refused("[time]\ndedup_retention = '2d'"), format!("weir.toml:2: {horizon}"));
    // The key at fault is not in the file: the line is the other key's.
    assert_eq!(
        refused("[checkpoints]\n\nevery_hour_for = '4d'"),
        format!("weir.toml:3: {}", horizon.replace("3d", "4d").replace("2d", "3d"))
    );
    assert_eq!(
        refused("time.allowed_lateness = '3d'"),
        "weir.toml:1: `time.dedup_retention` (3d) is shorter than `time.allowed_lateness` (3d) \
         and an hour, so a late duplicate would be charged; set it to 73h or more."
    );
    assert!(Config::parse("weir.toml", "time.allowed_lateness = '71h'").is_ok());
}

#[test]
fn what_contradicts_a_group() {
    assert_eq!(
        refused(
            "listen.control = '0.0.0.0:9465'\n[group]\nsession_timeout = '5s'\n[deliver]\nurl = 'http://a/'"
        ),
        "weir.toml:1: the other workers cannot reach `listen.control` as it stands: set `group.address` to where they can, \
         such as \"http://worker-3:9465\".\n\
         weir.toml:2: [group] shares the partitions of a log that is not in one process's directory; set `log.kind` to \
         \"kafka\" or \"fluvio\", or remove [group].\n\
         weir.toml:2: [group] needs `checkpoints.remote`: whoever takes a partition over gets its state from there.\n\
         weir.toml:3: `group.session_timeout` is '5s'; it must be from \"6s\" to \"30s\".\n\
         weir.toml:4: [deliver] belongs to a job of one process: with [group] it is not supported; remove one of the two."
    );
    let shared = "log.kind = 'kafka'\ncheckpoints.remote = 's3://weir/checkpoints'\n";
    for reached in ["", "listen.control = '127.0.0.1:0'\ngroup.address = 'http://a:1'", "listen.control = ''"]
    {
        let text = format!("{shared}{reached}\ngroup.worker = 3");
        assert!(Config::parse("weir.toml", &text).is_ok(), "{text}");
    }
}

#[test]
fn what_fluvio_cannot_do() {
    let log = "[log]\nkind = 'fluvio'\n[log.fluvio]\n";
    assert_eq!(
        refused(&format!("{log}prefix = 'Weir.eu'\nreplication = 0\nretention = '3d'\n")),
        "weir.toml:4: `log.fluvio.prefix` is \"Weir.eu\"; Fluvio wants small letters, digits and hyphens between them, and there \
         is room for 40.\n\
         weir.toml:5: `log.fluvio.replication` is 0; set it to the number of SPUs that are to have each record.\n\
         weir.toml:6: `log.fluvio.retention` (3d) is shorter than the replay horizon `checkpoints.every_hour_for` (3d) and a \
         day, so records that are still needed would be deleted; set it to 4d or more."
    );
    for prefix in ["", "-weir", "a-prefix-that-is-longer-than-there-is-room"] {
        assert!(refused(&format!("{log}prefix = '{prefix}'")).contains("`log.fluvio.prefix` is"), "{prefix}");
    }
    for good in [format!("{log}prefix = 'weir-2'\nretention = '4d'"), "log.fluvio.prefix = '?'".to_owned()] {
        assert!(Config::parse("weir.toml", &good).is_ok(), "{good}");
    }
}

#[test]
fn what_contradicts_who_shares_partitions_out() {
    let shared =
        "partitions = 8\nlog.kind = 'kafka'\ncheckpoints.remote = 's3://weir/checkpoints'\n[group]\n";
    for (group, problem) in [
        ("partitions = '0-3'", "`group.partitions` says which partitions this worker has"),
        ("coordinator = 'static'", "it must name some of the partitions 0 to 7"),
        ("coordinator = 'static'\npartitions = '4-8'", "it must name some of the partitions 0 to 7"),
        ("coordinator = 'static'\npartitions = '3-1'", "it must name some of the partitions 0 to 7"),
        ("coordinator = 'zookeeper'\nzookeeper.path = 'weir'", "it must be the path of a node"),
        ("coordinator = 'zookeeper'\nzookeeper.session_timeout = '1s'", "from \"4s\" to \"1m\""),
        ("coordinator = 'zookeeper'\nzookeeper.site = 'east'", "set it to \"20s\" or less"),
    ] {
        let said = refused(&format!("{shared}{group}"));
        assert!(said.contains(problem) && said.lines().count() == 1, "{group}: {said}");
    }
    for group in ["coordinator = 'static'\npartitions = '0-3, 7'", "coordinator = 'zookeeper'"] {
        let text = format!("{shared}{group}");
        assert!(Config::parse("weir.toml", &text).is_ok(), "{text}");
        assert!(Config::parse("weir.toml", &text.replace("kafka", "fluvio")).is_ok(), "{text}");
    }
    let said = refused(&format!("{shared}worker = 1").replace("kafka", "fluvio"));
    assert!(said.contains("Fluvio has no groups") && said.lines().count() == 1, "{said}");
    assert_eq!(super::partitions("0-2, 7,1", 8), Some(vec![0, 1, 2, 7]));
}

#[test]
fn other_contradictions() {
    assert_eq!(
        refused("[time]\nallowed_lateness = '59s'\n[checkpoints]\nevery_minute_for = '73h'"),
        "weir.toml:2: `time.allowed_lateness` (59s) is shorter than a minute; \
         set it to 1m or more.\n\
         weir.toml:4: `checkpoints.every_minute_for` (73h) is longer than \
         `checkpoints.every_hour_for` (3d); set it to 3d or less."
    );
    assert_eq!(
        refused("data_dir = ''\n[accounts]\nfile = ''\n[[source]]\n"),
        "weir.toml:1: `data_dir` is missing or empty; give it a path.\n\
         weir.toml:3: `accounts.file` is missing or empty; give it a path.\n\
         weir.toml:4: `source[0].path` is missing or empty; give it a path."
    );
}

#[test]
fn where_and_how_to_deliver() {
    assert_eq!(
        refused("[deliver]\nbackoff = '2s'\nbackoff_max = '1s'\nslow_at = 60000\n"),
        "weir.toml:1: `deliver.url` is missing or empty; give it the address of the account system.\n\
         weir.toml:2: `deliver.backoff` (2s) is longer than `deliver.backoff_max` (1s); set it to 1s or less.\n\
         weir.toml:4: `deliver.slow_at` (60000) is more than `deliver.pause_at` (50000); \
         set it to 50000 or less."
    );
    for url in ["accounts.example.com", "ftp://accounts", "http://", "http:// x"] {
        let said = refused(&format!("deliver.url = '{url}'"));
        assert!(said.contains("write it as http://host:port/path"), "{url}: {said}");
    }
    assert!(Config::parse("weir.toml", "deliver.url = 'http://127.0.0.1:8080'").is_ok());
}

#[test]
fn where_the_ledger_is() {
    assert_eq!(
        refused("[ledger]\nbatch = 10\n"),
        "weir.toml:1: `ledger.url` is missing or empty; give it the address of the database."
    );
    for url in ["db/weir", "http://db/weir", "postgres://weir:secret@db", "postgres://weir:secret@db:x/weir"]
    {
        let said = refused(&format!("[ledger]\nbatch = 10\nurl = '{url}'"));
        assert!(said.starts_with("weir.toml:3: `ledger.url` "), "{said}");
        assert!(said.ends_with("write it as postgres://user@host:port/database."), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    assert!(Config::parse("weir.toml", "ledger.url = 'postgres://weir@127.0.0.1:5432/weir'").is_ok());
}

#[test]
fn how_long_credentials_are_of_use() {
    assert_eq!(
        refused("[credentials]\nlifetime = '2h'\nmax_lifetime = '1h'\n"),
        "weir.toml:2: `credentials.lifetime` (2h) is longer than `credentials.max_lifetime` (1h); \
         set it to 1h or less."
    );
    assert_eq!(
        refused("[credentials]\nmax_lifetime = '49h'\n"),
        "weir.toml:2: `credentials.max_lifetime` (49h) and `time.allowed_lateness` (1d) are together longer than \
         `time.dedup_retention` (3d), so a credential that is used twice could be charged twice; set it to 2d or less."
    );
    assert!(refused("credentials.lifetime = '999ms'").contains("a duration from \"1s\" to \"3650d\""));
    assert!(Config::parse("weir.toml", "credentials.max_lifetime = '48h'").is_ok());
    // Without the section the defaults give way.
    let late = Config::parse("weir.toml", "time.allowed_lateness = '71h'").expect("must be accepted");
    let limits = crate::credentials::Limits::of(&late);
    let hour = Duration::from_secs(3600);
    assert_eq!((limits.lifetime, limits.max_lifetime), (hour, hour));
}

#[test]
fn the_same_address() {
    assert_eq!(
        refused("[listen]\nmetrics = '127.0.0.1:9465'"),
        "weir.toml:2: `listen.metrics` (127.0.0.1:9465) and `listen.control` (127.0.0.1:9465) \
         are the same address; give one of them another port."
    );
    assert!(refused("[listen]\ncontrol = '0.0.0.0:9464'").starts_with("weir.toml:2: "));
    for both in ["off", "127.0.0.1:0"] {
        let text = format!("[listen]\nmetrics = '{both}'\ncontrol = '{both}'");
        assert!(Config::parse("weir.toml", &text).is_ok(), "{both}");
    }
}

#[test]
fn addresses_of_ingest_count_only_with_it() {
    let text = "[listen]\ncontrol = '127.0.0.1:9467'\nhttp = '0.0.0.0:9464'\n";
    assert!(Config::parse("weir.toml", text).is_ok());
    assert_eq!(
        refused(&format!("{text}[ingest]\n")),
        "weir.toml:2: `listen.control` (127.0.0.1:9467) and `listen.grpc` (127.0.0.1:9467) are the same address; \
         give one of them another port.\n\
         weir.toml:3: `listen.metrics` (127.0.0.1:9464) and `listen.http` (0.0.0.0:9464) are the same address; \
         give one of them another port."
    );
}

#[test]
fn what_contradicts_ingest() {
    let text = "[time]\nclock = 'events'\n[ingest]\nspool_mb = 64\nhigh_mb = 65\nmemory_mb = 1\n\
                trusted_proxies = ['10.0.0.0/8', '::1', 'localhost']\n";
    assert_eq!(
        refused(text),
        "weir.toml:2: `time.clock` is \"events\", for logs of an earlier time, but [ingest] takes in what happens \
         now; set it to \"wall\" or remove [ingest].\n\
         weir.toml:4: `ingest.segment_mb` (64) is more than half of `ingest.spool_mb` (64), which is freed file by \
         file; set it to 32 or less.\n\
         weir.toml:5: `ingest.high_mb` (65) is more than `ingest.spool_mb` (64), so the spool would be full before \
         intake is slowed; set it to 64 or less.\n\
         weir.toml:6: `ingest.max_request_kb` (8192) is more than half of `ingest.memory_mb` (1), and a request takes \
         that twice: as it came, and as records; set it to 512 or less.\n\
         weir.toml:7: `ingest.trusted_proxies[2]` is 'localhost'; it must be an IP address or a network such as \
         \"10.0.0.0/8\"."
    );
    assert!(Config::parse("weir.toml", "[ingest]\ntrusted_proxies = ['10.0.0.0/8', '::1']").is_ok());
}

#[test]
fn what_contradicts_the_mirror_and_enrichment() {
    assert_eq!(
        refused("[mirror]\nurl = 'ftp://host'\n[enrichment]\n"),
        "weir.toml:1: [mirror] is about events that are sent to the job, but without [ingest] none are taken in; add \
         [ingest] or remove [mirror].\n\
         weir.toml:2: `mirror.url` is \"ftp://host\"; write it as http://host:port/path or https://host/path.\n\
         weir.toml:3: [enrichment] is about events that are sent to the job, but without [ingest] none are taken in; \
         add [ingest] or remove [enrichment]."
    );
    assert_eq!(
        refused("[ingest]\n[mirror]\n[enrichment]\nregions = ''\n"),
        "weir.toml:2: `mirror.url` is missing or empty; give it the address that copies are posted to.\n\
         weir.toml:4: `enrichment.regions` is missing or empty; give it a path."
    );
    let mirror = |url: &str| format!("[ingest]\n[mirror]\nurl = '{url}'\nshare = 5\n");
    assert_eq!(
        refused(&mirror("http://127.0.0.1:9466/v1/events")),
        "weir.toml:3: `mirror.url` (http://127.0.0.1:9466/v1/events) is this job's own `listen.http`, so each copy \
         would be copied again; give it the address of another endpoint."
    );
    assert!(Config::parse("weir.toml", &mirror("http://127.0.0.1:9999/v1/events")).is_ok());
}

#[test]
fn sources_against_one_another() {
    let text = "data_dir = 'd'\n[[source]]\npath = './a/*.ndjson'\n[[source]]\n\
                path = 'x/../a/*.ndjson'\n[[source]]\npath = 'd/in'\n[[source]]\npath = 'data'\n";
    assert_eq!(
        refused(text),
        "weir.toml:5: the source x/../a/*.ndjson is already `source[0].path`, \
         and would be read twice; remove one of the two.\n\
         weir.toml:7: the source d/in is inside `data_dir`, where Weir writes; move it elsewhere."
    );
}

#[test]
fn paths_start_from_the_folder_of_the_file() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("accounts.csv"), "").expect("write");
    let text = b"[[source]]\npath = 'later.ndjson'\n[[source]]\npath = '*.log'\n[accounts]\n\
                 [credentials]\nkey_file = 'keys'\n[anti_brush]\ndatacenter_networks = ['accounts.csv']\n";
    let config = load(at, text).expect("must be accepted");
    assert_eq!(config.data_dir, at.join("weir-data"));
    assert_eq!(config.sources[0].path, at.join("later.ndjson"));
    assert_eq!(config.sources[1].path, at.join("*.log"));
    assert_eq!(config.accounts.as_ref().map(|a| a.file.clone()), Some(at.join("accounts.csv")));
    assert_eq!(config.anti_brush.datacenter_networks, [at.join("accounts.csv")]);
    assert_eq!(crate::credentials::key_path(&config), at.join("keys"));
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn files_that_cannot_be_read() {
    let folder = folder();
    let text = "[[source]]\npath = 'no/a.log'\n[[source]]\npath = 'n*/a.log'\n[accounts]\n\
                [anti_brush]\ndatacenter_networks = [\n  '.',\n]\n";
    assert_eq!(
        load_refused(folder.path(), text),
        "@/weir.toml:2: the directory @/no does not exist; create it or correct `source[0].path`.\n\
         @/weir.toml:4: the directory @/n* has a wildcard; \
         only the last component of `source[1].path` may have one.\n\
         @/weir.toml:5: cannot read @/accounts.csv: No such file or directory (os error 2); \
         make it readable or correct `accounts.file`.\n\
         @/weir.toml:8: cannot read @/.: it is not a file; \
         make it readable or correct `anti_brush.datacenter_networks[0]`."
    );
}

#[test]
fn every_stage_reports_at_once() {
    let folder = folder();
    let text = "threds = 1\n[log]\nkind = 1\n[time]\nallowed_lateness = '1s'\n[accounts]\nfile = 'no'\n";
    let messages = load_refused(folder.path(), text);
    assert_eq!(messages.lines().count(), 4, "{messages}");
}

#[cfg(unix)]
#[test]
fn links_into_the_data_directory_are_followed() {
    let folder = folder();
    let at = folder.path();
    fs::create_dir(at.join("weir-data")).expect("create");
    std::os::unix::fs::symlink(at.join("weir-data"), at.join("link")).expect("link");
    assert_eq!(
        load_refused(at, "[[source]]\npath = 'link/a.log'\n"),
        "@/weir.toml:2: the source @/link/a.log is inside `data_dir`, where Weir writes; \
         move it elsewhere."
    );
}

#[test]
fn the_file_itself() {
    let folder = folder();
    let missing = Config::load(folder.path().join("no.toml")).expect_err("must be refused");
    assert!(missing.to_string().ends_with(
        "/no.toml: cannot read the configuration: No such file or directory (os error 2); \
         name a readable file."
    ));
    let binary = load(folder.path(), b"threads = 1\n# \xff\n").expect_err("must be refused");
    assert_eq!(binary.problems[0].line, Some(2));
    assert!(load(folder.path(), b"\xef\xbb\xbfthreads = 1\r\n").is_ok());
}

#[test]
fn a_changed_configuration_can_be_checked_again() {
    let mut config = Config::default();
    config.time.allowed_lateness = Duration::ZERO;
    assert_eq!(
        config.check().map_err(|errors| errors.to_string()),
        Err("configuration: `time.allowed_lateness` (0ms) is shorter than a minute; \
             set it to 1m or more."
            .to_owned())
    );
}
