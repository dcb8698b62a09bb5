use super::*;

#[test]
fn a_flipped_bit_of_the_settings_or_the_address_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, _lock) = DataDir::lock(folder.path(), 3, None, None).unwrap();
    dir.announce(CONTROL, "http://127.0.0.1:9465").unwrap();
    for (name, check) in [
        ("weir.json", (|root| DataDir::open(root).map(|_| ())) as fn(&Path) -> Result<(), JobError>),
        ("control.address", |root| DataDir::open(root)?.address().map(|_| ())),
    ] {
        let path = folder.path().join(name);
        let text = fs::read(&path).unwrap();
        for bit in 0..8 * text.len() {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, damaged).unwrap();
            let error = check(folder.path()).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{bit}: {error}");
        }
        fs::write(&path, text).unwrap();
        check(folder.path()).unwrap();
    }
    assert_eq!(dir.address().unwrap().as_deref(), Some("http://127.0.0.1:9465"));
}

#[test]
fn the_cluster_is_written_down_with_the_brokers_and_a_directory_without_one_takes_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    // As it was written before the cluster was.
    let settings = r#"{"partitions":3,"kafka":{"brokers":"a:9092","prefix":"weir","replication":3,"min_insync":2,"client_file":""},"worker":1}"#;
    let sum = crc32c::crc32c(settings.as_bytes());
    let text = format!(r#"{{"format":3,"crc32c":{sum},"settings":{settings}}}"#);
    fs::write(root.join("weir.json"), text).unwrap();
    assert_eq!(DataDir::open(root).unwrap().cluster(), None);

    let named = |brokers: &str| {
        ClusterOptions::Kafka(KafkaOptions { brokers: brokers.to_owned(), ..KafkaOptions::default() })
    };
    let lock = |kafka: &ClusterOptions| DataDir::lock(root, 3, Some(kafka), Some(1)).unwrap();
    let known = || DataDir::open(root).unwrap().topics().cluster_options().cloned();
    let (mut dir, held) = lock(&named("b:9092"));
    assert_eq!(dir.topics().cluster_options(), Some(&named("b:9092")));
    assert_eq!(known(), Some(named("a:9092")), "those of an unknown cluster may be refused yet");
    dir.set_cluster(Some("X1".to_owned()));
    dir.save().unwrap();
    assert_eq!(known(), Some(named("b:9092")));
    drop((dir, held));

    let (dir, _held) = lock(&named("b:9092"));
    assert_eq!((dir.cluster(), dir.worker()), (Some("X1"), Some(1)));
}
