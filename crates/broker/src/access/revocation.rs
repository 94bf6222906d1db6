//! Brings sessions in line with what may be done now.
//!
//! Users are replaced first, so that nobody comes in as before; then every session that is there
//! gets its new principal, and loses what that one may not have: under the shard's lock, a step at
//! a time. A session whose credential is gone may do nothing from that moment on, and is closed.

use super::Access;
use super::gate::Gate;
use crate::outbox::Outbox;
use crate::shard::{Shard, Touched, flush, touch};
use courant_engine::{Cause, Principal, Refusal, SessionId};
use std::sync::Arc;

/// What a change of users and roles did to the sessions that were there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Sessions that may do something else now.
    pub changed: usize,
    /// Sessions that were closed.
    pub closed: usize,
}

/// Puts other users in place.
pub(crate) fn set(gate: &Gate, shard: &Shard, access: Access) -> Revoked {
    let _one = gate.change();
    let access = Arc::new(access);
    gate.replace(Arc::clone(&access));
    let sessions = shard.lock().engine.principals();
    let mut revoked = Revoked::default();
    for (session, before) in sessions {
        match access.current(&before) {
            Some(now) if now == before => {}
            Some(now) => {
                change(shard, session, &now);
                revoked.changed += 1;
            }
            None => {
                if let Some(outbox) = change(shard, session, &Arc::new(before.stripped())) {
                    shard.lock().engine.set_stalled(session, true);
                    outbox.close(Refusal::AccessRevoked);
                    outbox.flush();
                    revoked.closed += 1;
                }
            }
        }
    }
    revoked
}

/// Gives a session another principal. `None` if it is gone.
fn change(shard: &Shard, session: SessionId, now: &Arc<Principal>) -> Option<Arc<Outbox>> {
    let mut touched = Touched::new();
    let mut more = true;
    let mut told = None;
    while more {
        let mut guard = shard.lock();
        let state = &mut *guard;
        let outbox = state.outbox_of(session)?;
        more = state.engine.set_principal(session, Arc::clone(now), &mut state.effects);
        let may = |exchange| state.engine.may_consume_from(session, exchange);
        for target in shard.router.revoke(&outbox, may) {
            outbox.cancel(target.tag, Cause::NotAllowed);
            touch(&mut touched, &outbox);
        }
        shard.hand_out(state, &mut touched);
        told = Some(outbox);
        drop(guard);
        flush(&touched);
        touched.clear();
    }
    told
}
