//! CPU time and memory of a process, from `/proc`.

use std::fs::read_to_string;

/// Ticks a second in `/proc`, on every Linux.
const TICKS: f64 = 100.0;

/// Seconds of CPU time that a process has used, in user mode and in the system.
pub fn cpu_s(process: &str) -> f64 {
    let stat = read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, which may hold anything, is in parentheses.
    let fields: Vec<_> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS
}

/// The most memory that a process had since that was last cleared, in bytes.
pub fn peak_bytes(process: &str) -> u64 {
    let status = read_to_string(format!("/proc/{process}/status")).unwrap();
    let kb = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    kb.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// From now on its peak counts anew.
pub fn clear_peak(process: &str) {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
}

/// What it and this process use from here on.
pub struct Meter {
    job: String,
    job_s: f64,
    own_s: f64,
    begun: std::time::Instant,
}

impl Meter {
    pub fn begin(job: u32) -> Self {
        let job = job.to_string();
        clear_peak(&job);
        Meter { job_s: cpu_s(&job), own_s: cpu_s("self"), job, begun: std::time::Instant::now() }
    }

    /// In cores, and the peak of memory.
    pub fn end(&self) -> serde_json::Value {
        let took = self.begun.elapsed().as_secs_f64();
        let cores = |now: f64, before: f64| ((now - before) / took * 100.0).round() / 100.0;
        serde_json::json!({
            "job_cores": cores(cpu_s(&self.job), self.job_s),
            "client_cores": cores(cpu_s("self"), self.own_s),
            "job_peak_bytes": peak_bytes(&self.job),
        })
    }
}
