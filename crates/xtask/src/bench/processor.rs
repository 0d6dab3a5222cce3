//! Processor time, as the kernel counts it.

use std::fs;

/// The ticks of a second in `/proc/PID/stat` (`USER_HZ`, the same on all of Linux's machines here).
const TICKS_PER_SECOND: f64 = 100.0;

/// Whose time.
#[derive(Clone, Copy)]
pub(super) enum Of {
    /// A process that runs.
    Process(u32),
    /// All children of this one that have ended.
    EndedChildren,
}

/// The processor time until now, user and system, in seconds (proc(5), fields 14 to 17).
pub(super) fn seconds(of: Of) -> Result<f64, String> {
    let (path, user) = match of {
        Of::Process(pid) => (format!("/proc/{pid}/stat"), 14),
        Of::EndedChildren => ("/proc/self/stat".to_owned(), 16),
    };
    let stat = fs::read_to_string(&path).map_err(|error| format!("can't read {path}: {error}"))?;
    // The program's name, the second field, may have spaces in it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let (user, system) = ticks(user)
        .zip(ticks(user + 1))
        .ok_or_else(|| format!("{path} is not understood: {stat}"))?;
    Ok((user + system) / TICKS_PER_SECOND)
}
