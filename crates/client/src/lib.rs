//! A client of Courant, over the binary protocol (`docs/doors/binary.md`).
//!
//! ```no_run
//! use courant_client::{Client, Destination, Mode, Options, Subscribe};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(Options::new("localhost:7530")).await?;
//! client.command("DECLARE queue:orders").await?;
//! let orders = Destination::queue("orders")?;
//! client.publish(&orders, "one").await?;
//!
//! let mut publisher = client.publisher(&orders, Default::default());
//! for number in 0..1_000 {
//!     publisher.send(format!("{number}")).await?;
//! }
//! publisher.flush().await?;
//!
//! let mut subscription = client.subscribe(Subscribe::new(orders)).await?;
//! let message = subscription.next().await?;
//! message.ack().await?;
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it guarantees
//!
//! - What was confirmed is as safe as its level says. Messages of one [`Publisher`] are in their
//!   order.
//! - When the connection ends, it is made again, with pauses that grow to five seconds.
//!   Subscriptions go on under their numbers. What was not confirmed is sent again, in its order:
//!   a message whose confirm was lost may be there twice. A publisher may ask that it fails instead
//!   ([`PublisherOptions::is_sent_again`]).
//! - A message of before a disconnect is not settled any more ([`SettleError::Stale`]); it comes
//!   again. What came and was not read is not shown, since it comes again too.
//! - Nothing is dropped silently: [`Client::events`] tells of disconnects, of a broker that is
//!   short of something, and of what was refused while nobody waited for it.
//! - Memory is bounded: by windows of what is not confirmed, by the credit of subscriptions, by the
//!   number of requests.
//!
//! Reading order: `client` is what users hold, `worker` owns the connection; `flight`,
//! `subscriptions` and `requests` are what it keeps, `replies` is what it hears.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod client;
mod destination;
mod error;
mod event;
mod flight;
mod limits;
mod link;
mod message;
mod options;
mod publisher;
mod replies;
mod requests;
mod subscription;
mod subscriptions;
mod transport;
mod worker;

pub use bytes::Bytes;
pub use client::{Answer, Client};
pub use courant_wire::binary::{Properties, Property, Retry};
pub use courant_wire::text::Confirm as Level;
pub use courant_wire::{Handle, MessageId};
pub use destination::{Destination, DestinationError};
pub use error::{
    ConnectError, EndOfSubscription, PublishError, Refusal, RequestError, SettleError, TlsError,
};
pub use event::{Event, Events};
pub use message::Message;
pub use options::{Login, Options, Tls, WindowSize};
pub use publisher::{Confirm, Publisher, PublisherOptions, Unconfirmed};
pub use subscription::{Mode, Subscribe, Subscription};
