//! What is admitted and not applied yet counts where it matters.

use courant_engine::{
    Admission, Effects, Engine, Lifetime, Principal, QueueOptions, Record, Refusal, Topology,
    engine::Publish, record::Targets,
};
use std::sync::Arc;

#[test]
fn a_queue_with_messages_on_their_way_is_not_empty() {
    let (mut engine, mut effects) = (Engine::default(), Effects::default());
    engine.apply(&engine.opening(), &mut effects);
    let session = engine.attach("/", Arc::new(Principal::unrestricted("me"))).unwrap();
    let declare = Topology::DeclareQueue("q", QueueOptions::default());
    let Ok(Admission::Log(record)) = engine.admit_topology(session, declare, &mut effects) else {
        panic!("a durable queue is logged");
    };
    engine.apply(&record, &mut effects);

    let route = engine.resolve(session, Publish::Queue("q")).unwrap();
    let seq = engine.admit(10).unwrap();
    engine.note_in_flight(9, &route.durable);
    let delete = Topology::DeleteQueue { name: "q", if_empty: true, if_unused: false };
    let refused = engine.admit_topology(session, delete, &mut effects);
    assert_eq!(refused, Err(Refusal::QueueNotEmpty));

    let targets = Targets::new(&route.durable).unwrap();
    let lifetime = Lifetime::default();
    let published =
        Record::Published { seq, size: 10, lifetime, exchange: route.exchange, targets };
    engine.apply(&published, &mut effects);
    let refused = engine.admit_topology(session, delete, &mut effects);
    assert_eq!(refused, Err(Refusal::QueueNotEmpty));
    let ranges = &[(seq, seq)];
    let (queue, cause) = (targets.iter().next().unwrap(), courant_engine::Cause::Acked);
    engine.apply(&Record::Settled { queue, cause, ranges }, &mut effects);
    assert!(engine.admit_topology(session, delete, &mut effects).is_ok());
}
