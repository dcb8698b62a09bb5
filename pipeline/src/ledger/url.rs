//! Where the database is.

use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

const CONNECT: Duration = Duration::from_secs(10);
const PASSWORD: &str = "PGPASSWORD";

/// The settings that a URL stands for, or what is wrong with it; the URL itself is not shown, as it may have a
/// password in it. Without one, it comes from the environment.
pub fn parse(url: &str) -> Result<Config, String> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err("does not begin with postgres://".to_owned());
    }
    let mut config: Config =
        url.parse().map_err(|e| format!("cannot be read: {}", quoteless(&super::error::chain(&e))))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("names no host".to_owned());
    }
    if config.get_dbname().is_none() {
        return Err("names no database".to_owned());
    }
    // `prefer` protects from nobody who can read the network: either TLS is asked for, or there is none.
    if config.get_ssl_mode() != SslMode::Require {
        config.ssl_mode(SslMode::Disable);
    }
    if config.get_password().is_none()
        && let Ok(password) = std::env::var(PASSWORD)
    {
        config.password(password);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    if config.get_application_name().is_none() {
        config.application_name("weir");
    }
    Ok(config)
}

/// A complaint without the name of an option that there is not: it is part of the password if that has an `@` and
/// a `?` that are not written as `%40` and `%3F`.
fn quoteless(complaint: &str) -> &str {
    const UNKNOWN: &str = "unknown option";
    complaint.find(UNKNOWN).map_or(complaint, |at| &complaint[..at + UNKNOWN.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_told_without_its_password() {
        for (url, wrong) in [
            ("", "postgres://"),
            ("http://secret@db/weir", "postgres://"),
            ("postgres://weir:secret@/weir", "no host"),
            ("postgres://weir:secret@db", "no database"),
            ("postgres://weir:secret@db:port/weir", "cannot be read"),
            ("postgres://weir:secret@db/weir?sslmode=verify-full", "cannot be read"),
            ("postgres://weir:to@p?secret=1@db/weir", "unknown option"),
        ] {
            let said = parse(url).unwrap_err();
            assert!(said.contains(wrong) && !said.contains("secret"), "{url}: {said}");
        }
    }

    #[test]
    fn tls_is_there_or_not() {
        let mode = |url| parse(url).unwrap().get_ssl_mode();
        assert_eq!(mode("postgresql://weir@db/weir"), SslMode::Disable);
        assert_eq!(mode("postgresql://weir@db/weir?sslmode=require"), SslMode::Require);
        assert_eq!(parse("postgres:///weir?host=/run/postgresql&user=weir").unwrap().get_hosts().len(), 1);
    }
}
