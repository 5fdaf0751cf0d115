//! A body that a thread writes while it is sent. The thread waits for whoever reads it.

use super::ExportStream;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes of a piece, about.
const PIECE: usize = 64 * 1024;
/// Pieces that wait to be sent.
const PIECES_MAX: usize = 4;

pub(super) struct Streamed(Receiver<io::Result<Bytes>>);

impl Streamed {
    pub(super) fn new(stream: ExportStream) -> Streamed {
        let (sender, receiver) = channel(PIECES_MAX);
        tokio::task::spawn_blocking(move || {
            let mut out = BufWriter::with_capacity(PIECE, Pieces(sender.clone()));
            if let Err(error) = stream(&mut out).and_then(|()| out.flush()) {
                tracing::warn!(%error, "an export was broken off");
                // It shall not look like the whole. If nobody reads any more, nobody needs to know.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Streamed(receiver)
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

struct Pieces(Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
