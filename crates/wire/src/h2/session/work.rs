//! What a peer can make us do, what that costs it, and what a connection has come to.

/// Work that is of no use by itself. Everything that a peer can send has a kind here or earns credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Frames of types that are not known.
    Unknown,
    /// SETTINGS, each of which is answered.
    Settings,
    /// PING, each of which is answered.
    Ping,
    /// PRIORITY.
    Priority,
    /// WINDOW_UPDATE.
    WindowUpdate,
    /// DATA that holds nothing and ends nothing.
    EmptyData,
    /// CONTINUATION that holds little.
    SmallFragment,
    /// CONTINUATION that holds much.
    Fragment,
    /// GOAWAY.
    Goaway,
    /// Frames on streams that have ended.
    Late,
    /// Requests that the client gives up before their answers.
    GivenUp,
    /// Requests that the client makes us give up, or refuse.
    Broken,
}

impl Work {
    /// All kinds.
    pub const ALL: [Work; 12] = [
        Work::Unknown,
        Work::Settings,
        Work::Ping,
        Work::Priority,
        Work::WindowUpdate,
        Work::EmptyData,
        Work::SmallFragment,
        Work::Fragment,
        Work::Goaway,
        Work::Late,
        Work::GivenUp,
        Work::Broken,
    ];

    /// What it costs.
    pub(super) fn price(self) -> i32 {
        match self {
            Work::Unknown | Work::Settings | Work::EmptyData | Work::SmallFragment | Work::Goaway => 4,
            Work::Ping | Work::Priority | Work::WindowUpdate | Work::Fragment => 1,
            Work::Late => 2,
            Work::GivenUp | Work::Broken => 10,
        }
    }

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Work::Unknown => "unknown_frame",
            Work::Settings => "settings",
            Work::Ping => "ping",
            Work::Priority => "priority",
            Work::WindowUpdate => "window_update",
            Work::EmptyData => "empty_data",
            Work::SmallFragment => "small_continuation",
            Work::Fragment => "continuation",
            Work::Goaway => "goaway",
            Work::Late => "late_frame",
            Work::GivenUp => "reset_by_client",
            Work::Broken => "reset_by_gateway",
        }
    }
}

/// What a connection has come to: the most of each, and what was refused. A connection without trouble changes it a few
/// times at its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Streams open at a time.
    pub streams: u32,
    /// Streams refused since it was taken last, because as many were open as may be.
    pub streams_refused: u32,
    /// Credit spent.
    pub spent: u32,
    /// The connection is sent away because of such work.
    pub sent_away: Option<Work>,
    /// Bytes that waited to be written.
    pub unwritten: usize,
    /// Times that nothing more was read because so much waited to be written.
    pub choked: u32,
    /// Bytes that a client had sent ahead on one stream.
    pub ahead_on_stream: u32,
    /// Bytes that a client had sent ahead on all streams.
    pub ahead: u32,
    /// Header blocks refused since it was taken last, for which no request is answered 431: too large (trailers, or what
    /// ends the connection), or trailers of too many fields.
    pub blocks_refused: (u32, u32),
}

/// A tally that tells whether it has changed.
#[derive(Debug, Default)]
pub(super) struct Kept {
    now: Tally,
    changed: bool,
}

impl Kept {
    /// Makes the number the greater one.
    pub(super) fn raise<T: PartialOrd + Copy>(&mut self, of: fn(&mut Tally) -> &mut T, to: T) {
        let known = of(&mut self.now);
        if *known < to {
            *known = to;
            self.changed = true;
        }
    }

    /// Adds one.
    pub(super) fn count(&mut self, of: fn(&mut Tally) -> &mut u32) {
        let known = of(&mut self.now);
        *known = known.saturating_add(1);
        self.changed = true;
    }

    /// The connection is sent away.
    pub(super) fn send_away(&mut self, work: Work) {
        self.now.sent_away.get_or_insert(work);
        self.changed = true;
    }

    /// What has changed since the last call, if anything has; what is counted since then begins anew.
    pub(super) fn take(&mut self) -> Option<Tally> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let taken = self.now;
        self.now = Tally { streams_refused: 0, choked: 0, blocks_refused: (0, 0), sent_away: None, ..taken };
        Some(taken)
    }
}
