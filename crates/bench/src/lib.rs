//! Speed figures and instruction counts.
//!
//! The program `speed` starts the real binary and talks to it through sockets: [`live`], [`queue`]
//! and [`latency`] are its workloads, [`link`], [`dialect`] and [`consumer`] what they speak with,
//! [`cost`] and [`disk`] what they are measured by, [`report`] how it is shown. [`engine`]
//! measures the engine alone, in this process, [`route`] its routing. The program `counts` runs
//! the hot paths of [`path`] one at a time, for callgrind. The program `rivals` puts other brokers,
//! [`peer`], under the same loads, and [`contest`] shows all side by side.
//!
//! Rules of all workloads: frames are encoded before the clock starts; what arrives is counted by
//! its length, and checked for content where it begins and ends; a run that lost something fails.

pub mod amqp;
mod binary;
pub mod binary_queue;
pub mod consumer;
pub mod contest;
pub mod cost;
pub mod dialect;
pub mod disk;
pub mod durable;
pub mod engine;
mod frames;
pub mod jetstream;
pub mod latency;
pub mod link;
pub mod live;
pub mod path;
pub mod peer;
pub mod queue;
pub mod redis_stream;
pub mod report;
pub mod route;
pub mod server;
pub mod window;
