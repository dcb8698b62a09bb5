//! What Kafka's own tools see of a job, and topics that are not what they were: refused, with an explanation, and never
//! begun anew in silence.

use weir_tests::{LongRun, Weir, count, wait_for, weir};

use super::cluster::Cluster;
use super::{Fed, Kafka};

#[test]
fn the_tools_of_kafka_show_how_far_a_job_is() {
    let Some(kafka) = Kafka::of("kafka-lag") else { return };
    let mut fed = Fed::begin("kafka-lag", &kafka.section(), 7);
    fed.run(|_, _| {});
    let shown = kafka.tool("consumer.group.ConsumerGroupCommand", &["--describe", "--group", &kafka.prefix]);
    for topic in ["raw", "clean", "judged", "charges"] {
        let name = format!("{}.{topic}", kafka.prefix);
        let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        let rows: Vec<_> = rows.into_iter().filter(|row| row.get(1) == Some(&&*name)).collect();
        assert!(!rows.is_empty(), "{name} in\n{shown}");
        let (mut read, mut end) = (0, 0);
        for row in rows {
            read += row[3].parse::<u64>().unwrap();
            end += row[4].parse::<u64>().unwrap();
            assert_eq!(row[5], "0", "{shown}");
        }
        assert!(read == end && end > 0, "{shown}");
    }
}

#[test]
fn a_topic_that_is_deleted_or_made_anew_is_refused() {
    let Some(kafka) = Kafka::of("kafka-topics") else { return };
    let mut fed = Fed::begin("kafka-topics", &kafka.section(), 7);
    fed.run(|_, _| {});
    let job = &mut fed.job;

    job.start();
    job.wait_until_up();
    let charges = format!("{}.charges", kafka.prefix);
    kafka.tool("TopicCommand", &["--delete", "--topic", &charges]);
    wait_for("the job to end", || !job.is_alive());
    job.ended().refused(&[1], &[&charges, "is gone", "another cluster"]);
    run(job).wait().refused(&[1], &[&charges, "is gone", "log.kafka.prefix"]);

    let settings = [
        "min.insync.replicas=1",
        "unclean.leader.election.enable=false",
        "retention.ms=-1",
        "retention.bytes=-1",
        "cleanup.policy=delete",
    ];
    let settings = settings.iter().flat_map(|setting| ["--config", *setting]);
    let create = ["--create", "--topic", &charges, "--partitions", "4", "--replication-factor", "1"];
    kafka.tool("TopicCommand", &create.into_iter().chain(settings).collect::<Vec<_>>());
    run(job).wait().refused(&[1], &["charges", "made anew"]);
}

#[test]
fn brokers_of_another_cluster_are_refused_before_anything_is_made_there() {
    let (Some(kafka), Some(elsewhere)) = (Kafka::of("kafka-other"), Kafka::of("kafka-other")) else { return };
    let mut fed = Fed::begin("kafka-other", &kafka.section(), 7);
    fed.run(|_, _| {});
    let job = &mut fed.job;
    let charges = count("charges", job.data_dir());
    let other = Cluster::up(elsewhere, 1);

    job.reconfigure(&kafka.brokers, &other.kafka.brokers);
    run(job).wait().refused(&[1], &[&other.kafka.brokers, "cluster", "new data directory"]);
    assert!(!other.kafka.tool("TopicCommand", &["--list"]).contains(&kafka.prefix));
    // What reads the directory beside a job still finds the former one.
    assert_eq!(count("charges", job.data_dir()), charges);

    job.reconfigure(&other.kafka.brokers, &kafka.brokers);
    job.start();
    job.stop("TERM");
}

fn run(job: &LongRun) -> Weir {
    Weir::start(weir().arg("run").arg("--config").arg(job.config()))
}
