//! A job from its start to its stop: runs with an end, runs without, what it is told and what it serves.

mod audit;
mod control;
mod finite;
mod follow;
mod live;
mod partitions;
mod settings;
