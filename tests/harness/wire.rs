//! A wire that delays, splits and cuts what passes, or is slow, between any two that speak TCP. What it does follows from a
//! seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// What a wire does to each of its connections.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Bytes are passed on in pieces of at most so many.
    pub piece: usize,
    /// Before one piece in so many there is a pause; 0: never.
    pub pause_one_in: u64,
    /// Of at most so long. As each connection has pauses of its own, what was sent first does not arrive first.
    pub pause: Duration,
    /// One connection in so many is cut somewhere in its first `cut_within` bytes; 0: none.
    pub cut_one_in: u64,
    /// See `cut_one_in`.
    pub cut_within: u64,
    /// So many bytes pass in a second of each connection: to its end, and from there; 0: as fast as it can. What is slow
    /// holds little itself, so that those at its ends come to feel it.
    pub bytes_a_second: [u64; 2],
}

impl Weather {
    /// All passes as it comes.
    pub const FAIR: Weather = Weather {
        piece: usize::MAX,
        pause_one_in: 0,
        pause: Duration::ZERO,
        cut_one_in: 0,
        cut_within: 0,
        bytes_a_second: [0, 0],
    };

    /// What the system may hold for a socket that is read slowly; 0: as it likes.
    fn held(&self, direction: usize) -> u32 {
        if self.bytes_a_second[direction] > 0 { 32 * 1024 } else { 0 }
    }
}

/// A socket that holds so much of what has not been read.
fn socket(held: u32) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    if held > 0 {
        socket.set_recv_buffer_size(held).unwrap();
    }
    socket
}

/// A wire; it ends when dropped.
pub struct Wire {
    /// Where it begins.
    pub address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// Lays a wire that ends at `to`.
    pub async fn lay(to: SocketAddr, seed: u64, weather: Weather) -> Wire {
        // What it accepts is as it is itself.
        let listener = socket(weather.held(0));
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listener.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = cuts.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut dice = Dice::new(seed);
            while let Ok((near, _)) = listener.accept().await {
                let (own, counted) = (dice.another(), counted.clone());
                connections.spawn(async move {
                    let Ok(far) = socket(weather.held(1)).connect(to).await else { return };
                    if pass(near, far, own, weather).await {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Wire { address, cuts, task: task.abort_handle() }
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

/// Numbers that follow from a seed (xorshift64*).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Those of a seed.
    pub fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        dice.next();
        dice
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// A number below that one; 0 if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// Dice of its own for somebody else.
    pub fn another(&mut self) -> Dice {
        Dice::new(self.next())
    }
}

/// Passes bytes both ways to the end; whether it was cut.
async fn pass(mut near: TcpStream, mut far: TcpStream, mut dice: Dice, weather: Weather) -> bool {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let cut = weather.cut_one_in > 0 && dice.below(weather.cut_one_in) == 0;
    // In one direction, after so many bytes.
    let after = if cut { dice.below(weather.cut_within) } else { u64::MAX };
    let upward = dice.below(2) == 0;
    let reset = dice.below(2) == 0;
    let (to_far, to_near) = (dice.another(), dice.another());
    let ended = {
        let (near_reads, near_writes) = near.split();
        let (far_reads, far_writes) = far.split();
        let [to, from] = weather.bytes_a_second;
        let after = |cut: bool| if cut { after } else { u64::MAX };
        let up = way(near_reads, far_writes, to_far, weather, (to, after(upward)));
        let down = way(far_reads, near_writes, to_near, weather, (from, after(!upward)));
        tokio::try_join!(up, down)
    };
    match ended {
        Err(End::Cut) => {
            if reset {
                let _ = (near.set_zero_linger(), far.set_zero_linger());
            }
            true
        }
        Err(End::Broken) => {
            // A side that is gone is gone for the other, too.
            let _ = (near.set_zero_linger(), far.set_zero_linger());
            false
        }
        Ok(_) => false,
    }
}

enum End {
    Cut,
    Broken,
}

async fn way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut dice: Dice,
    weather: Weather,
    (bytes_a_second, mut left): (u64, u64),
) -> Result<(), End> {
    let mut buffer = vec![0; 16 * 1024];
    // When the next byte may pass.
    let mut free = Instant::now();
    loop {
        let read = from.read(&mut buffer).await.map_err(|_| End::Broken)?;
        if read == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            if weather.pause_one_in > 0 && dice.below(weather.pause_one_in) == 0 {
                let pause = dice.below(u64::try_from(weather.pause.as_micros()).unwrap());
                rest_until(Instant::now() + Duration::from_micros(pause)).await;
            }
            rest_until(free).await;
            let most = dice.below(weather.piece as u64).saturating_add(1);
            let most = most.min(rest.len() as u64).min(left);
            let (piece, after) = rest.split_at(usize::try_from(most).unwrap());
            to.write_all(piece).await.map_err(|_| End::Broken)?;
            rest = after;
            left -= most;
            if let Some(took) = (most * 1_000_000).checked_div(bytes_a_second) {
                free = free.max(Instant::now()) + Duration::from_micros(took);
            }
            if left == 0 {
                return Err(End::Cut);
            }
        }
    }
}

async fn rest_until(when: Instant) {
    let _ = tokio::time::timeout_at(when, std::future::pending::<()>()).await;
}
