//! Looking into a store, and carrying messages out of it and into it: nothing is lost on the way, and damage is
//! found and named. In memory; segments are small because the store is opened again and again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod store_view {
    mod check;
    mod transfer;
    mod world;
}
