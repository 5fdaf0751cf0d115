//! HareMQ's shell: what touches the world. Sockets, disks, clocks and tasks are here; what the broker does
//! is in the pure crates that it drives.

pub mod administration;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod management;
pub mod serve;
pub mod server;
pub mod store;
pub mod transfer;
