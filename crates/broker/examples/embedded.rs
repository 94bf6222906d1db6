//! A durable queue inside a program: `cargo run -p courant --example embedded [FOLDER]`.

use courant::{Broker, Destination, Options, QueueOptions, SubscribeOptions, Subscribed};
use std::error::Error;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(
        || std::env::temp_dir().join(format!("courant-embedded-{}", std::process::id())),
        PathBuf::from,
    );
    tour(&folder, &mut stdout()).await
}

/// Sends three orders and handles them; what it does not handle is there when it runs again.
pub(crate) async fn tour(folder: &Path, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let broker = Broker::open(folder, Options::default()).await?;
    writeln!(out, "opened {}", folder.display())?;

    let mut producer = broker.session("producer")?;
    producer.declare_queue("orders", QueueOptions::default()).await?;
    for order in ["a lamp", "two chairs", "a table"] {
        let confirm = producer.publish(Destination::Queue("orders"), order.as_bytes()).await?;
        writeln!(out, "{order}: {} to {} queue", confirm.level.word(), confirm.queues)?;
    }

    let mut consumer = broker.session("consumer")?;
    let options = SubscribeOptions::default();
    let orders = consumer.subscribe(Subscribed::Queue("orders"), options).await?;
    for _ in 0..3 {
        let delivered = consumer.next(orders).await?;
        let order = String::from_utf8_lossy(&delivered.payload);
        writeln!(out, "handled {order} (attempt {})", delivered.attempt)?;
        consumer.ack(&delivered)?;
    }
    // Acks reach the disk within 50 ms; who must know that they did, waits.
    consumer.sync_settles().await?;

    broker.close().await?;
    Ok(())
}
