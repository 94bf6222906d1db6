//! Who may do what: every operation, allowed, denied, and revoked while it goes on; and who comes
//! in at all.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;

use client::{Client, Event, Lines};
use courant::{
    Access, AccessError, AccessOptions, BindTo, Broker, Cause, Credentials, Destination,
    ExchangeKind, ExchangeOptions, Level, Operation, Options, Principal, QueueOptions, Refusal,
    RoleOptions, Selector, Settling, SubscribeOptions, Subscribed, Topology, UserOptions, Verdict,
    access,
};
use std::net::IpAddr;
use std::sync::Arc;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const TOKEN: &str = "a token of a test";
/// SHA-256 of it, as any tool says it.
const TOKEN_HASH: &str = "9db6979541df188606aa4c8e0d12a0225d0c622ea9484c9da1963e1d0cc28de8";

/// What is permitted on which names.
type Permits<'a> = &'a [(Operation, &'a [&'a str])];

fn role(permits: Permits<'_>) -> RoleOptions {
    let mut role = RoleOptions { name: "r".into(), ..RoleOptions::default() };
    for (operation, names) in permits {
        let list = match operation {
            Operation::Publish => &mut role.publish,
            Operation::Consume => &mut role.consume,
            Operation::Configure => &mut role.configure,
            Operation::Inspect => &mut role.inspect,
        };
        list.extend(names.iter().map(|name| (*name).to_owned()));
    }
    role
}

/// One user `u` with one token and one role.
fn access_of(token_hash: &str, role: RoleOptions) -> Access {
    let user = UserOptions {
        name: "u".into(),
        token_hashes: vec![token_hash.to_owned()],
        roles: vec![role.name.clone()],
        ..UserOptions::default()
    };
    Access::new(AccessOptions { users: vec![user], roles: vec![role] }).unwrap()
}

struct Hall {
    broker: Broker,
    token: access::NewToken,
}

impl Hall {
    /// A broker with a user that may do that, and everything that the operations are about.
    async fn new(permits: Permits<'_>) -> Self {
        let broker = Broker::in_memory(Options::default()).unwrap();
        let mut host = Client::new(&broker);
        for queue in ["q", "full", "spare"] {
            host.declare(queue).await;
        }
        host.send("full", b"one").await;
        for exchange in ["t", "x", "idle"] {
            let kind = if exchange == "t" { ExchangeKind::Fanout } else { ExchangeKind::Direct };
            let options = ExchangeOptions::of(kind);
            host.session.change(Topology::DeclareExchange(exchange, options)).await.unwrap();
        }
        let bind = Topology::Bind { exchange: "x", to: BindTo::Queue("q"), key: b"k" };
        host.session.change(bind).await.unwrap();
        let hall = Self { broker, token: access::new_token().unwrap() };
        hall.permit(permits);
        hall
    }

    fn permit(&self, permits: Permits<'_>) -> access::Revoked {
        self.broker.set_access(access_of(&self.token.hash, role(permits)))
    }

    async fn principal(&self) -> Arc<Principal> {
        self.broker.login(&Credentials::Token(&self.token.token), HERE).await.unwrap()
    }

    async fn guest(&self) -> Client {
        Client::of(&self.broker, "/", &self.principal().await).unwrap()
    }

    fn ready(&self, queue: &str) -> u64 {
        let client = Client::new(&self.broker);
        client.session.inspect(queue).unwrap().ready
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    PublishQueue,
    PublishTopic,
    PublishExchange,
    SubscribeQueue,
    SubscribeSession,
    SubscribeDurable,
    SubscribeLive,
    Claim,
    Purge,
    DeclareQueue,
    DeleteQueue,
    DeclareExchange,
    DeleteExchange,
    Bind,
    Unbind,
    DeclareNamespace,
    InspectQueue,
    InspectExchange,
    ShowQueue,
    ShowExchange,
    ListBindingsOf,
    ListSubscriptionsOf,
    Stats,
}

use Act::*;
use Operation::{Configure, Consume, Inspect, Publish};

/// Every operation and the least that permits it.
const ACTS: &[(Act, Permits<'static>)] = &[
    (PublishQueue, &[(Publish, &["q"])]),
    (PublishTopic, &[(Publish, &["t"])]),
    (PublishExchange, &[(Publish, &["x"])]),
    (SubscribeQueue, &[(Consume, &["q"])]),
    (SubscribeSession, &[(Consume, &["t"])]),
    (SubscribeDurable, &[(Consume, &["t", "t/s"]), (Configure, &["t/s"])]),
    (SubscribeLive, &[(Consume, &["t"])]),
    (Claim, &[(Consume, &["full"])]),
    (Purge, &[(Consume, &["full"])]),
    (DeclareQueue, &[(Configure, &["new"])]),
    (DeleteQueue, &[(Configure, &["spare"])]),
    (DeclareExchange, &[(Configure, &["new"])]),
    (DeleteExchange, &[(Configure, &["idle"])]),
    (Bind, &[(Configure, &["spare"]), (Consume, &["t"])]),
    (Unbind, &[(Configure, &["x", "q"])]),
    (DeclareNamespace, &[(Configure, &["#"])]),
    (InspectQueue, &[(Inspect, &["q"])]),
    (InspectExchange, &[(Inspect, &["x"])]),
    (ShowQueue, &[(Inspect, &["q"])]),
    (ShowExchange, &[(Inspect, &["x"])]),
    (ListBindingsOf, &[(Inspect, &["x"])]),
    (ListSubscriptionsOf, &[(Inspect, &["q"])]),
    (Stats, &[(Inspect, &["#"])]),
];

impl Act {
    async fn attempt(self, client: &mut Client) -> Result<(), Refusal> {
        let options = SubscribeOptions::default();
        let session = &mut client.session;
        match self {
            PublishQueue => publish(client, Destination::Queue("q")).await,
            PublishTopic => publish(client, Destination::Topic("t")).await,
            PublishExchange => publish(client, Destination::Exchange("x", b"k")).await,
            SubscribeQueue => session.subscribe(Subscribed::Queue("q"), 1, options).await,
            SubscribeSession => session.subscribe(Subscribed::Topic("t", b""), 1, options).await,
            SubscribeDurable => {
                session.subscribe(Subscribed::Durable("t", b"", "s"), 1, options).await
            }
            SubscribeLive => {
                session.subscribe(Subscribed::Live("t", b"", Arc::new(Lines)), 1, options).await
            }
            Claim => session.claim("full", Settling::Manual, None).await.map(|_| ()),
            Purge => session.purge("full").await.map(|_| ()),
            DeclareQueue => {
                session.change(Topology::DeclareQueue("new", QueueOptions::default())).await
            }
            DeleteQueue => {
                let (if_empty, if_unused) = (false, false);
                session.change(Topology::DeleteQueue { name: "spare", if_empty, if_unused }).await
            }
            DeclareExchange => {
                session
                    .change(Topology::DeclareExchange(
                        "new",
                        ExchangeOptions::of(ExchangeKind::Direct),
                    ))
                    .await
            }
            DeleteExchange => {
                session.change(Topology::DeleteExchange { name: "idle", if_unused: false }).await
            }
            Bind => {
                let to = BindTo::Queue("spare");
                session.change(Topology::Bind { exchange: "t", to, key: b"" }).await
            }
            Unbind => {
                let to = BindTo::Queue("q");
                session.change(Topology::Unbind { exchange: "x", to, key: b"k" }).await
            }
            DeclareNamespace => session.change(Topology::DeclareNamespace("other")).await,
            InspectQueue => session.inspect("q").map(|_| ()),
            InspectExchange => session.inspect_exchange("x"),
            ShowQueue => session.queue("q").map(|_| ()),
            ShowExchange => session.exchange("x").map(|_| ()),
            ListBindingsOf => session.bindings(Some(BindTo::Exchange("x")), None, 10).map(|_| ()),
            ListSubscriptionsOf => {
                session.subscriptions(Some(BindTo::Queue("q")), None, 10).map(|_| ())
            }
            Stats => session.stats().map(|_| ()),
        }
    }
}

async fn publish(client: &mut Client, to: Destination<'_>) -> Result<(), Refusal> {
    let to = client.session.destination(to);
    client.publish(to, &[(b"body", Level::Memory, true)]).await[0].map(|_| ())
}

/// All that an operation does not need, on every name.
fn all_but(needed: Permits<'_>) -> Vec<(Operation, &'static [&'static str])> {
    let is_needed = |operation| needed.iter().any(|(other, _)| *other == operation);
    let all = [Publish, Consume, Configure, Inspect];
    all.into_iter().filter(|one| !is_needed(*one)).map(|one| (one, &["#"][..])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_permitted_is_done() {
    for (act, permits) in ACTS {
        let hall = Hall::new(permits).await;
        let mut guest = hall.guest().await;
        assert_eq!(act.attempt(&mut guest).await, Ok(()), "{act:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_permitted_is_refused() {
    for (act, permits) in ACTS {
        let hall = Hall::new(&all_but(permits)).await;
        let mut guest = hall.guest().await;
        assert_eq!(act.attempt(&mut guest).await, Err(Refusal::NotAllowed), "{act:?}");
        // Each part of what is needed is needed.
        for missing in 0..permits.len() {
            let mut some = permits.to_vec();
            some.remove(missing);
            hall.permit(&some);
            if !some.is_empty() {
                let refused = act.attempt(&mut guest).await;
                assert_eq!(refused, Err(Refusal::NotAllowed), "{act:?} with {some:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_permitted_is_refused_at_once() {
    for (act, permits) in ACTS {
        let hall = Hall::new(permits).await;
        let mut guest = hall.guest().await;
        // What needs no second attempt is looked at by a first one afterwards.
        if matches!(act, PublishQueue | PublishTopic | PublishExchange | InspectQueue) {
            assert_eq!(act.attempt(&mut guest).await, Ok(()), "{act:?}");
        }
        let revoked = hall.permit(&[(Operation::Publish, &["elsewhere"])]);
        assert_eq!((revoked.changed, revoked.closed), (1, 0), "{act:?}");
        assert_eq!(act.attempt(&mut guest).await, Err(Refusal::NotAllowed), "{act:?}");
        hall.permit(permits);
        assert_eq!(act.attempt(&mut guest).await, Ok(()), "{act:?} given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_subscription_ends_and_what_it_held_goes_to_others() {
    let hall = Hall::new(&[(Consume, &["q", "full"])]).await;
    let mut host = Client::new(&hall.broker);
    for body in [b"1", b"2", b"3"] {
        host.send("q", body).await;
    }
    let mut guest = hall.guest().await;
    guest.subscribe(Subscribed::Queue("q"), 7, 2).await;
    let got = guest.take(2).await;
    let claimed = guest.session.claim("full", Settling::Manual, None).await.unwrap();
    assert_eq!((hall.ready("q"), hall.ready("full")), (1, 0));
    hall.permit(&[(Inspect, &["#"])]);
    assert_eq!(guest.line.wait(1).await, [Event::Cancelled(7, Cause::NotAllowed)]);
    assert_eq!((hall.ready("q"), hall.ready("full")), (3, 1));
    assert_eq!(guest.settle(got[0].handle, Verdict::Ack), Err(Refusal::NotOpen));
    let mut results = Vec::new();
    let claimed = (Selector::Message(claimed.id.seq), Verdict::Ack);
    guest.session.settle(&[claimed], &mut results);
    assert_eq!(results, [Err(Refusal::NotOpen)]);
    host.subscribe(Subscribed::Queue("q"), 1, 10).await;
    let again: Vec<_> = host.take(3).await.iter().map(|got| got.attempt).collect();
    assert_eq!(again, [2, 2, 1]);
    assert_eq!(guest.session.unsubscribe(7), Err(Refusal::NoSuchSubscription));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_step_is_given_back() {
    let hall = Hall::new(&[(Consume, &["q"])]).await;
    let mut host = Client::new(&hall.broker);
    let to = host.session.destination(Destination::Queue("q"));
    let batch = vec![(&b"m"[..], Level::Memory, false); 5_000];
    host.publish(to, &batch).await;
    let mut guest = hall.guest().await;
    guest.subscribe(Subscribed::Queue("q"), 1, 60_000).await;
    guest.take(5_000).await;
    hall.permit(&[]);
    assert_eq!(hall.ready("q"), 5_000);
    let events = guest.line.wait(1).await;
    assert_eq!(events, [Event::Cancelled(1, Cause::NotAllowed)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_to_a_topic_end_with_the_permission_for_it() {
    let hall = Hall::new(&[(Consume, &["t"])]).await;
    let mut host = Client::new(&hall.broker);
    let mut guest = hall.guest().await;
    guest.subscribe(Subscribed::Topic("t", b""), 1, 10).await;
    guest.subscribe(Subscribed::Live("t", b"", Arc::new(Lines)), 2, 10).await;
    publish(&mut host, Destination::Topic("t")).await.unwrap();
    let mut before = guest.line.wait(2).await;
    before.sort_by_key(|event| matches!(event, Event::Bytes(_)));
    assert!(matches!(&before[..], [Event::Got(_), Event::Bytes(_)]), "{before:?}");
    hall.permit(&[(Consume, &["t.*", "$session.#"])]);
    let mut ended = guest.line.wait(2).await;
    ended.sort_by_key(|event| matches!(event, Event::Cancelled(2, _)));
    let cancelled = |tag| Event::Cancelled(tag, Cause::NotAllowed);
    assert_eq!(ended, [cancelled(1), cancelled(2)]);
    publish(&mut host, Destination::Topic("t")).await.unwrap();
    assert_eq!(guest.line.events(), []);
    let queues: Vec<_> = hall.broker.queues().into_iter().map(|(name, _)| name).collect();
    assert_eq!(queues, ["q", "full", "spare"], "its own queue went with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_given_needs_no_grant_and_one_of_its_own_name_does() {
    let hall = Hall::new(&[(Consume, &["t", "mine"]), (Configure, &["mine"])]).await;
    let mut guest = hall.guest().await;
    let mut host = Client::new(&hall.broker);
    let options = QueueOptions { durable: false, exclusive: true, ..QueueOptions::default() };
    let given = guest.session.declare_queue("", options).await.unwrap();
    let (to, key) = (BindTo::Queue(&given), &b""[..]);
    guest.session.change(Topology::Bind { exchange: "t", to, key }).await.unwrap();
    guest.subscribe(Subscribed::Queue(&given), 1, 10).await;
    assert_eq!(guest.session.declare_queue("mine", options).await.as_deref(), Ok("mine"));
    guest.subscribe(Subscribed::Queue("mine"), 2, 10).await;
    let refused = publish(&mut guest, Destination::Queue("mine")).await;
    assert_eq!(refused, Err(Refusal::NotAllowed), "its own, and no grant to publish to it");
    hall.permit(&[(Configure, &["mine"])]);
    assert_eq!(guest.line.wait(1).await, [Event::Cancelled(2, Cause::NotAllowed)]);
    assert!(hall.broker.queues().iter().any(|(name, _)| name == "mine"), "it is still there");
    publish(&mut host, Destination::Topic("t")).await.unwrap();
    guest.take(1).await;
    let (if_empty, if_unused) = (false, false);
    let delete = Topology::DeleteQueue { name: &given, if_empty, if_unused };
    let refused = hall.guest().await.session.change(delete).await;
    assert_eq!(refused, Err(Refusal::NotAllowed), "another session of the same user");
    guest.session.change(delete).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_publishes_meanwhile_is_stopped_in_the_middle() {
    let hall = Hall::new(&[(Publish, &["t", "q"])]).await;
    for to in [Destination::Topic("t"), Destination::Queue("q")] {
        hall.permit(&[(Publish, &["t", "q"])]);
        let mut guest = hall.guest().await;
        let to = guest.session.destination(to);
        let body = (&b"m"[..], Level::Memory, false);
        assert!(guest.publish(to, &[body]).await[0].is_ok());
        let publisher = tokio::spawn(async move {
            loop {
                if let Err(refusal) = guest.publish(to, &[body]).await[0] {
                    return refusal;
                }
                tokio::task::yield_now().await;
            }
        });
        hall.permit(&[(Publish, &["elsewhere"])]);
        let ended = tokio::time::timeout(client::PATIENCE, publisher).await;
        assert_eq!(ended.unwrap().unwrap(), Refusal::NotAllowed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_credential() {
    let hall = Hall::new(&[(Publish, &["q"])]).await;
    let mut host = Client::new(&hall.broker);
    let stale = hall.principal().await;
    let mut guest = hall.guest().await;
    publish(&mut guest, Destination::Queue("q")).await.unwrap();
    let other = access::new_token().unwrap();
    let permits = role(&[(Publish, &["q"])]);
    let revoked = hall.broker.set_access(access_of(&other.hash, permits));
    assert_eq!((revoked.changed, revoked.closed), (0, 1));
    let refused = publish(&mut guest, Destination::Queue("q")).await;
    assert_eq!(refused, Err(Refusal::NotAllowed), "before its door has noticed");
    assert_eq!(guest.line.wait(1).await, [Event::Refused(Refusal::AccessRevoked)]);
    let refused = Client::of(&hall.broker, "/", &stale).err();
    assert_eq!(refused, Some(Refusal::AccessRevoked), "logged in before, attached after");
    publish(&mut host, Destination::Queue("q")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn users_end_the_time_of_everybody() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    assert!(!broker.has_credentials());
    let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
    let refused = broker.login(&Credentials::None, elsewhere).await;
    assert_eq!(refused.err(), Some(Refusal::CredentialsRequired), "only this machine");
    let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
    assert!(broker.login(&Credentials::None, mapped).await.is_ok());
    let refused = broker.login(&Credentials::Token("any"), HERE).await;
    assert_eq!(refused.err(), Some(Refusal::BadCredentials));
    let anybody = broker.login(&Credentials::None, HERE).await.unwrap();
    let mut anybody = Client::of(&broker, "/", &anybody).unwrap();
    anybody.declare("q").await;
    broker.set_access(access_of(TOKEN_HASH, role(&[])));
    assert!(broker.has_credentials());
    assert_eq!(anybody.line.wait(1).await, [Event::Refused(Refusal::AccessRevoked)]);
    let refused = broker.login(&Credentials::None, HERE).await;
    assert_eq!(refused.err(), Some(Refusal::CredentialsRequired));
}

fn with_password(hash: Option<String>) -> Access {
    let user = |name: &str, password_hash| UserOptions {
        name: name.into(),
        password_hash,
        token_hashes: vec![access::new_token().unwrap().hash],
        ..UserOptions::default()
    };
    let users = vec![user("alice", hash), user("robot", None)];
    Access::new(AccessOptions { users, roles: Vec::new() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slow_and_says_nothing() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    broker.set_access(with_password(Some(access::hash_password("secret").unwrap())));
    let from = |i: u8| IpAddr::from([192, 0, 2, i]);
    let login = |user, password, source| {
        let broker = broker.clone();
        async move {
            let shown = Credentials::Password { user, password };
            broker.login(&shown, source).await.map(|principal| principal.name.clone())
        }
    };
    assert_eq!(login("alice", "secret", from(1)).await, Ok("alice".into()));
    for user in ["alice", "nobody", "robot"] {
        assert_eq!(login(user, "", from(2)).await, Err(Refusal::BadCredentials), "{user}");
    }
    for _ in 0..2 {
        assert_eq!(login("alice", "guess", from(2)).await, Err(Refusal::BadCredentials));
    }
    assert_eq!(login("alice", "secret", from(2)).await, Err(Refusal::LockedOut));
    let token = broker.login(&Credentials::Token("guess"), from(2)).await;
    assert_eq!(token.err(), Some(Refusal::LockedOut), "a source is locked for all it tries");
    assert_eq!(login("alice", "secret", from(3)).await, Ok("alice".into()));
    // Too many at a time from one source: the first wrong ones lock out the rest.
    let storm: Vec<_> = (0..30).map(|_| tokio::spawn(login("nobody", "guess", from(4)))).collect();
    let mut refusals = Vec::new();
    for one in storm {
        refusals.push(one.await.unwrap().unwrap_err());
    }
    let wrong = refusals.iter().filter(|refusal| **refusal == Refusal::BadCredentials).count();
    assert!((5..=8).contains(&wrong), "{wrong} of 30 were looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_many_guess_about_comes_in_as_before() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    broker.set_access(with_password(Some(access::hash_password("secret").unwrap())));
    let login = |password, source: u8| {
        let broker = broker.clone();
        async move {
            let shown = Credentials::Password { user: "alice", password };
            broker.login(&shown, IpAddr::from([192, 0, 2, source])).await.map(|_| ())
        }
    };
    assert_eq!(login("secret", 200).await, Ok(()));
    let mut refused = Ok(());
    for i in 0..60 {
        refused = login("guess", i).await;
        if refused == Err(Refusal::LockedOut) {
            break;
        }
    }
    assert_eq!(refused, Err(Refusal::LockedOut), "from 60 sources");
    assert_eq!(login("secret", 201).await, Ok(()), "what was right before needs no hashing");
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_see_nothing_of_each_other() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    let mut host = Client::new(&broker);
    host.session.change(Topology::DeclareNamespace("blue")).await.unwrap();
    host.session.change(Topology::DeclareNamespace("red")).await.unwrap();
    host.declare("q").await;
    let token = access::new_token().unwrap();
    let all = role(&[(Publish, &["#"]), (Consume, &["#"]), (Configure, &["#"]), (Inspect, &["#"])]);
    let all = RoleOptions { namespace: Some("blue".into()), ..all };
    broker.set_access(access_of(&token.hash, all));
    let blue = broker.login(&Credentials::Token(&token.token), HERE).await.unwrap();
    for namespace in ["/", "red", "absent"] {
        let refused = Client::of(&broker, namespace, &blue).err();
        assert_eq!(refused, Some(Refusal::NotAllowed), "{namespace}");
    }
    let mut guest = Client::of(&broker, "blue", &blue).unwrap();
    assert_eq!(guest.session.inspect("q"), Err(Refusal::NoSuchQueue));
    guest.declare("q").await;
    guest.send("q", b"blue").await;
    guest.session.declare_topic("t").await.unwrap();
    guest.subscribe(Subscribed::Live("t", b"", Arc::new(Lines)), 1, 0).await;
    let anybody = Arc::new(Principal::unrestricted("p"));
    let mut red = Client::of(&broker, "red", &anybody).unwrap();
    red.session.declare_topic("t").await.unwrap();
    red.declare("q").await;
    publish(&mut red, Destination::Topic("t")).await.unwrap();
    assert_eq!(red.session.inspect("q").unwrap().ready, 0);
    assert_eq!(host.session.inspect("q").unwrap().ready, 0);
    assert_eq!(guest.session.inspect("q").unwrap().ready, 1);
    assert_eq!(guest.line.events(), []);
    let made = guest.session.change(Topology::DeclareNamespace("green")).await;
    assert_eq!(made, Err(Refusal::NotAllowed));
}

#[test]
fn what_is_wrong_with_users_and_roles_is_said() {
    let good = UserOptions {
        name: "u".into(),
        token_hashes: vec!["ab".repeat(32)],
        roles: vec!["r".into()],
        ..UserOptions::default()
    };
    let r = RoleOptions { name: "r".into(), ..RoleOptions::default() };
    let refused = |users: &[UserOptions], roles: &[RoleOptions]| {
        let options = AccessOptions { users: users.to_vec(), roles: roles.to_vec() };
        Access::new(options).map(|_| ()).unwrap_err()
    };
    let with = |change: &dyn Fn(&mut UserOptions)| {
        let mut user = good.clone();
        change(&mut user);
        refused(&[user], std::slice::from_ref(&r))
    };
    assert!(matches!(with(&|u| u.name.clear()), AccessError::UserName { .. }));
    assert!(matches!(with(&|u| u.token_hashes.clear()), AccessError::NoCredential { .. }));
    assert!(matches!(
        with(&|u| u.token_hashes = vec![TOKEN.into()]),
        AccessError::TokenHash { ordinal: 1, .. }
    ));
    let twice = with(&|u| u.token_hashes.push("AB".repeat(32)));
    assert!(matches!(twice, AccessError::TokenTwice { ordinal: 2, .. }));
    let clear = with(&|u| u.password_hash = Some("hunter2".into()));
    assert!(matches!(clear, AccessError::PasswordHash { .. }));
    assert!(!clear.to_string().contains("hunter2"), "{clear}");
    let missing = with(&|u| u.roles.push("absent".into()));
    let text = "the user \"u\" has the role \"absent\", which does not exist";
    assert_eq!(missing.to_string(), text);
    let r = std::slice::from_ref(&r);
    assert!(matches!(refused(&[good.clone(), good], r), AccessError::UserTwice { .. }));
    assert!(matches!(refused(&[], &[r[0].clone(), r[0].clone()]), AccessError::RoleTwice { .. }));
    let bad = RoleOptions { publish: vec!["a\u{7}".into()], ..r[0].clone() };
    let bad = refused(&[], &[bad]);
    assert!(matches!(bad, AccessError::Pattern { list: "publish", .. }), "{bad}");
    let bad = RoleOptions { namespace: Some(String::new()), ..r[0].clone() };
    assert!(matches!(refused(&[], &[bad]), AccessError::Namespace { .. }));
}
