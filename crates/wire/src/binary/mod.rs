//! The binary protocol: frames of fixed fields, specified in `docs/doors/binary.md`.
//!
//! Reading order: [`CommandKind`] and [`ReplyKind`] are the numbers of frames, [`decode`] reads
//! commands and [`reply`] answers them; [`request`] and [`decode_reply`] are the client's side.
//! [`Property`] is what is said of a message beside its payload, both ways.
//!
//! A frame is checked to its end when it is decoded, so what is in it is iterated without errors.

mod body;
mod client;
mod command;
mod decode;
mod error;
mod frame;
mod kind;
mod properties;
pub mod reply;
pub mod request;

pub use client::{
    Confirms, DecodedReply, Deliveries, Delivery, More, Reply, ReplyError, decode_reply,
};
pub use command::{
    Command, Decoded, Destination, Get, Handles, Message, Messages, Publish, PublishHead, Settle,
    Subscribe, Verdict,
};
pub use decode::decode;
pub use error::WireError;
pub use frame::{HEAD_BYTES, OpenFrame};
pub use kind::{CommandKind, ReplyKind};
pub use properties::{Header, Properties, Property, Tag, Value};
pub use reply::{Closes, Confirmed, DeliveryHead, Refused, Retry};
