//! The log of a broker without a data directory: it keeps nothing, because nothing outlives the process, and
//! what the queues hold is held once.

use super::StoreError;
use super::log::{GroupNumber, Log};

/// Takes everything and keeps nothing.
#[derive(Debug, Default)]
pub struct NoLog;

impl Log for NoLog {
    fn write_chunk(&mut self, _: GroupNumber, _: u32, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn close_group(&mut self, _: GroupNumber) -> Result<(), StoreError> {
        Ok(())
    }

    fn drop_group(&mut self, _: GroupNumber) -> Result<(), StoreError> {
        Ok(())
    }

    fn put(&mut self, _: &[u8], _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn remove(&mut self, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn groups(&self) -> Result<Vec<GroupNumber>, StoreError> {
        Ok(Vec::new())
    }

    fn read_group(&self, _: GroupNumber, _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        Ok(())
    }

    fn read_state(&self, _: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        Ok(())
    }
}
