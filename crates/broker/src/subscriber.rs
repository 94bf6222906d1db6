//! Durable subscribers of a topic: the queue `topic/name`, bound to the topic.
//!
//! A subscriber may be made before anybody receives, with policies of its queue, or by the first
//! session that joins it.

use crate::session::Session;
use courant_engine::{BindTo, Operation, QueueOptions, Refusal, Topology};

impl Session {
    /// Makes a durable subscriber of a topic or exchange, or sees that it is there like this: its
    /// messages, of that binding key, wait from now on.
    pub async fn declare_subscriber(
        &mut self,
        topic: &str,
        key: &[u8],
        name: &str,
        options: QueueOptions,
    ) -> Result<(), Refusal> {
        let queue = subscriber_queue(topic, name);
        self.allow_exchange(Operation::Consume, topic)?;
        {
            // A queue without its binding would wait for nothing: both are made, or neither.
            let engine = &self.shard.lock().engine;
            let found = engine.queue_of(self.id, Operation::Consume, &queue);
            if found == Err(Refusal::NoSuchQueue) {
                engine.could_bind(self.id, topic, key)?;
            }
        }
        self.declare_queue(&queue, options).await?;
        let (exchange, to) = (topic, BindTo::Queue(&queue));
        self.change(Topology::Bind { exchange, to, key }).await
    }

    /// Removes a durable subscriber and what waits for it.
    pub async fn delete_subscriber(
        &mut self,
        topic: &str,
        name: &str,
        (if_empty, if_unused): (bool, bool),
    ) -> Result<(), Refusal> {
        let name = &subscriber_queue(topic, name);
        self.allow_exchange(Operation::Consume, topic)?;
        match self.change(Topology::DeleteQueue { name, if_empty, if_unused }).await {
            Err(Refusal::NoSuchQueue) => Err(Refusal::NoSuchSubscriber),
            done => done,
        }
    }

    /// Sees that a durable subscriber is there, whatever the policies of its queue are. Gives that
    /// queue.
    pub(crate) async fn join_subscriber(
        &mut self,
        topic: &str,
        key: &[u8],
        name: &str,
    ) -> Result<String, Refusal> {
        let queue = subscriber_queue(topic, name);
        self.allow_exchange(Operation::Consume, topic)?;
        let found = self.shard.lock().engine.queue_of(self.id, Operation::Consume, &queue);
        match found {
            Ok(_) => {
                let (exchange, to) = (topic, BindTo::Queue(&queue));
                self.change(Topology::Bind { exchange, to, key }).await?;
            }
            Err(Refusal::NoSuchQueue) => {
                self.declare_subscriber(topic, key, name, QueueOptions::default()).await?;
            }
            Err(refusal) => return Err(refusal),
        }
        Ok(queue)
    }

    /// Whether an exchange exists and may be used so.
    fn allow_exchange(&self, operation: Operation, exchange: &str) -> Result<(), Refusal> {
        self.shard.lock().engine.exchange_of(self.id, operation, exchange).map(|_| ())
    }
}

/// The queue of a durable subscriber.
pub fn subscriber_queue(topic: &str, name: &str) -> String {
    format!("{topic}/{name}")
}
