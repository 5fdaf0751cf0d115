//! One connection: moves bytes between a socket and its [`Client`].
//!
//! One task does it all, so nothing of a connection needs a lock. Each turn takes what came, does what can
//! be done, writes what can be written, and then waits for whichever comes first: the socket, a delivery,
//! the store, or a deadline.

use super::buffers;
use crate::broker::{Broker, Client};
use crate::clock::Clock;
use crate::store::{Lsn, Progress};
use rabbit_compat::session::State;
use rabbit_compat::wire::Output;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, Ready};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};
use vhosts::Moment;

/// Pieces that one write takes.
const SLICES: usize = 64;
/// How long a peer that was told to go may take to go.
const LINGER: Duration = Duration::from_secs(3);
/// After that long without traffic a connection gives its spare memory back.
const REST_AFTER: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub async fn serve(mut stream: TcpStream, peer: SocketAddr, broker: Arc<Broker>) {
    let _ = stream.set_nodelay(true);
    let progress = broker.store.progress();
    let now = broker.clock.now();
    let mut client = Client::new(broker.clone(), peer.ip().to_canonical(), now);
    let connection =
        Connection { stream: &mut stream, client: &mut client, clock: &broker.clock, progress, busy: false };
    let result = connection.run().await;
    client.end();
    let session = client.session();
    match (result, session.ended()) {
        (Err(error), _) => tracing::info!(%peer, user = session.user(), "connection lost: {error}"),
        (Ok(()), Some(reason)) => tracing::warn!(%peer, user = session.user(), "connection closed: {reason}"),
        (Ok(()), None) => tracing::debug!(%peer, user = session.user(), "connection closed"),
    }
    let by_agreement = session.ended().is_none();
    // A peer that does not take its last bytes in time does not get them.
    let _ = timeout(LINGER, farewell(&mut stream, session.output(), by_agreement)).await;
}

struct Connection<'a> {
    stream: &'a mut TcpStream,
    client: &'a mut Client,
    clock: &'a Clock,
    progress: watch::Receiver<Progress>,
    /// There was traffic since memory was given back.
    busy: bool,
}

/// What a connection waited for.
enum Event {
    Socket(Ready),
    Delivery,
    Store,
    Deadline,
}

impl Connection<'_> {
    async fn run(mut self) -> io::Result<()> {
        let timer = sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            self.learn_progress();
            self.client.work();
            self.write()?;
            if self.client.session().state() == State::Closed {
                return Ok(());
            }
            self.arm(timer.as_mut());
            match self.wait(timer.as_mut()).await? {
                Event::Socket(ready) if ready.is_readable() => {
                    self.read()?;
                    // Whom this woke is often next on this very thread, and a socket that always has more
                    // would keep it from running.
                    tokio::task::yield_now().await;
                }
                Event::Socket(_) | Event::Delivery | Event::Store => {}
                Event::Deadline => self.deadline(),
            }
        }
    }

    async fn wait(&mut self, timer: std::pin::Pin<&mut Sleep>) -> io::Result<Event> {
        let mut interest = Interest::ERROR;
        if self.client.reads() {
            interest |= Interest::READABLE;
        }
        let has_output = !self.client.session().output().is_empty();
        if has_output {
            interest |= Interest::WRITABLE;
        }
        let is_held = self.client.session().is_held();
        let awaits_store = self.client.session().awaits_log()
            || self.client.waits_for().is_some()
            || self.client.waits_for_room();
        tokio::select! {
            biased;
            ready = self.stream.ready(interest) => ready.map(Event::Socket),
            _ = self.progress.changed(), if awaits_store => Ok(Event::Store),
            // Who is held may be let go however little its peer takes.
            () = self.client.outbox().filled(), if !has_output || is_held => Ok(Event::Delivery),
            () = timer => Ok(Event::Deadline),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        self.busy = true;
        buffers::lend(self.client.decoder().buffer());
        let read = self.stream.try_read_buf(self.client.decoder().buffer());
        let result = match read {
            Ok(0) => Err(io::ErrorKind::ConnectionReset.into()),
            Ok(_) => {
                self.client.session().received(self.clock.now());
                self.client.work();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        };
        buffers::give_back(self.client.decoder().buffer());
        result
    }

    fn write(&mut self) -> io::Result<()> {
        if write_out(self.stream, self.client.session().output())? {
            self.busy = true;
            self.client.session().sent(self.clock.now());
        }
        Ok(())
    }

    fn learn_progress(&mut self) {
        let durable: Lsn = self.progress.borrow_and_update().durable;
        self.client.safe(durable);
    }

    /// Deadlines mostly move away, so the timer is only set when it would be late; one that comes early
    /// finds nothing due.
    fn arm(&mut self, mut timer: std::pin::Pin<&mut Sleep>) {
        let due = self.client.session().deadline().map(|at| self.until(at));
        let rest = self.busy.then_some(REST_AFTER);
        let Some(wanted) = due.into_iter().chain(rest).min().map(|left| Instant::now() + left) else {
            return;
        };
        if timer.is_elapsed() || wanted < timer.deadline() {
            timer.as_mut().reset(wanted);
        }
    }

    fn deadline(&mut self) {
        self.client.session().tick(self.clock.now());
        if self.busy {
            self.busy = false;
            self.client.rest();
        }
    }

    fn until(&self, moment: Moment) -> Duration {
        Duration::from_millis(moment.0.saturating_sub(self.clock.now().0))
    }
}

/// Writes what the socket takes now. Says whether it took anything.
fn write_out(stream: &TcpStream, output: &mut Output) -> io::Result<bool> {
    let mut wrote = false;
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = output.slices(&mut slices);
        match stream.try_write_vectored(&slices[..filled]) {
            Ok(written) => output.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
        wrote = true;
    }
    Ok(wrote)
}

/// Writes what is left and waits for the peer to close, so that its last bytes are not cut off by a reset.
/// After `connection.close-ok` the client is the one to close; after anything else we are.
async fn farewell(stream: &mut TcpStream, output: &mut Output, by_agreement: bool) -> io::Result<()> {
    while !output.is_empty() {
        stream.writable().await?;
        write_out(stream, output)?;
    }
    if !by_agreement {
        stream.shutdown().await?;
    }
    let mut rest = [0; 512];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
