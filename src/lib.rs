//! HareMQ.
