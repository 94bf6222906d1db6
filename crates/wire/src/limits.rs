//! Every bound of the wire, with the relations between them asserted when this is compiled.
//!
//! A door passes a [`Limits`] to each decode; it may pass smaller ones before a client has
//! authenticated.

/// Bytes of a name after unescaping.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a token (`req:`, `sub_id:`).
pub const TOKEN_BYTES_MAX: usize = 64;
/// Bytes of the sentence in an ERR; the rest is cut off.
pub const SENTENCE_BYTES_MAX: usize = 1024;

/// Messages of one PUBLISH, and handles of one SETTLE, in the binary protocol.
pub const BATCH_MAX: usize = 8192;

/// Milliseconds of any time that a client asks for: 139 years.
pub const MS_MAX: u64 = 1 << 42;

/// What a decoder accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a command line, its line end not counted.
    pub line_bytes_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// Headers of one message.
    pub headers_max: usize,
    /// Bytes of all header names and values of one message, as written on the line.
    pub headers_bytes_max: usize,
    /// Bytes of a line that a server sends, its line end not counted. Larger than that of a
    /// command, because a message may come from a door whose headers are not bounded by a line.
    pub reply_line_bytes_max: usize,
    /// Bytes of a binary frame from a client, its head not counted.
    pub frame_bytes_max: usize,
    /// Bytes of a binary frame from a server, its head not counted. Larger, as a line is.
    pub reply_frame_bytes_max: usize,
}

impl Limits {
    /// The defaults of the specification.
    pub const DEFAULT: Self = Self {
        line_bytes_max: 4 * 1024,
        body_bytes_max: 16 * 1024 * 1024,
        headers_max: 256,
        headers_bytes_max: 64 * 1024,
        reply_line_bytes_max: 256 * 1024,
        frame_bytes_max: 16 * 1024 * 1024 + 128 * 1024,
        reply_frame_bytes_max: 17 * 1024 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const _: () = {
    let limits = Limits::DEFAULT;
    // A name that is all escapes, twice (BIND), and a few tokens fit on a line.
    assert!(limits.line_bytes_max >= 2 * 3 * NAME_BYTES_MAX + 8 * TOKEN_BYTES_MAX);
    // All headers fit on a reply line even if each byte is escaped, and so does any ERR.
    assert!(limits.reply_line_bytes_max >= 3 * limits.headers_bytes_max + limits.line_bytes_max);
    assert!(limits.reply_line_bytes_max >= SENTENCE_BYTES_MAX + limits.line_bytes_max);
    // The largest body goes into a frame with all that can be said of it: two names and properties.
    let said = 2 * NAME_BYTES_MAX + 65_535 + 64;
    assert!(limits.frame_bytes_max >= limits.body_bytes_max + said);
    assert!(limits.reply_frame_bytes_max >= limits.frame_bytes_max);
    assert!(limits.reply_frame_bytes_max <= 4_294_967_295);
    // A size of ten digits can name any body.
    assert!(limits.body_bytes_max <= 4_294_967_295);
};
