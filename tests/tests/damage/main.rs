//! Whatever breaks, in files, disks, settings or by kill -9: it is told, and nothing is lost or billed twice.

mod bad_input;
mod bit_rot;
mod corrupt;
mod full_disk;
mod kills;
mod refusals;
mod upgrade;
