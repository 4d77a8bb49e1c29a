//! What is kept and what is closed, over pipes in memory whose other ends see the close.

use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use url::Host;

use super::*;

fn pool(idle_per_host: usize, idle_total: usize, idle_timeout_ms: u64) -> Arc<Pool> {
    Pool::new(&PoolConfig {
        idle_per_host,
        idle_total,
        idle_timeout_ms,
    })
}

/// Longer than any test takes.
const LONG: u64 = 600_000;

fn origin(name: &str) -> Arc<Origin> {
    Arc::new(Origin {
        is_secure: false,
        host: Host::Domain(name.to_owned()),
        port: 80,
    })
}

async fn http1() -> (Http1, DuplexStream) {
    let (near, far) = duplex(1024);
    match Connection::over(near, false).await.unwrap() {
        Connection::Http1(connection) => (connection, far),
        other @ Connection::Http2(_) => panic!("{other:?}"),
    }
}

async fn http2() -> (Http2, DuplexStream) {
    let (near, far) = duplex(1024);
    match Connection::over(near, true).await.unwrap() {
        Connection::Http2(connection) => (connection, far),
        other @ Connection::Http1(_) => panic!("{other:?}"),
    }
}

/// Waits until the other end has closed.
async fn closed(far: &mut DuplexStream) {
    let mut sent = Vec::new();
    far.read_to_end(&mut sent).await.unwrap();
}

#[tokio::test]
async fn what_was_put_back_is_taken_by_its_own_origin() {
    let pool = pool(8, 8, LONG);
    let (one, other) = (origin("one"), origin("other"));
    let (connection, _far) = http1().await;
    pool.put(&one, connection);
    assert!(pool.take(&other).is_none());
    assert!(pool.take(&origin("one")).is_some());
    assert!(pool.take(&one).is_none());
}

#[tokio::test]
async fn the_oldest_goes_where_a_host_has_too_many() {
    let pool = pool(2, 8, LONG);
    let one = origin("one");
    let (first, mut first_far) = http1().await;
    pool.put(&one, first);
    let mut others = Vec::new();
    for _ in 0..2 {
        let (connection, far) = http1().await;
        pool.put(&one, connection);
        others.push(far);
    }
    closed(&mut first_far).await;
    assert!(pool.take(&one).is_some() && pool.take(&one).is_some());
    assert!(pool.take(&one).is_none());
}

#[tokio::test]
async fn the_oldest_of_all_goes_where_there_are_too_many() {
    let pool = pool(8, 2, LONG);
    let names = ["one", "two", "three"].map(origin);
    let mut fars = Vec::new();
    for name in &names {
        let (connection, far) = http1().await;
        pool.put(name, connection);
        fars.push(far);
    }
    closed(&mut fars[0]).await;
    assert!(pool.take(&names[0]).is_none());
    assert!(pool.take(&names[1]).is_some() && pool.take(&names[2]).is_some());
    assert_eq!(pool.state.lock().by_age.len(), 0);
    assert_eq!(pool.state.lock().kept.len(), 0);
}

#[tokio::test]
async fn what_is_shared_and_used_outlives_what_is_idle() {
    let pool = pool(8, 1, LONG);
    let (shared, idle) = (origin("shared"), origin("idle"));
    let (connection, mut shared_far) = http2().await;
    pool.share(&shared, connection);
    assert!(pool.take(&shared).is_some());
    let (connection, mut idle_far) = http1().await;
    pool.put(&idle, connection);
    closed(&mut idle_far).await;
    // Not used since: now it goes.
    let (connection, _far) = http1().await;
    pool.put(&idle, connection);
    closed(&mut shared_far).await;
    assert!(pool.take(&shared).is_none() && pool.take(&idle).is_some());
}

#[tokio::test]
async fn what_is_idle_for_too_long_is_closed() {
    let pool = pool(8, 8, 20);
    let one = origin("one");
    // Twice: the task that looks after it ends between.
    for _ in 0..2 {
        let (connection, mut far) = http1().await;
        pool.put(&one, connection);
        let (connection, mut shared_far) = http2().await;
        pool.share(&one, connection);
        closed(&mut far).await;
        closed(&mut shared_far).await;
        assert!(pool.take(&one).is_none());
    }
}

#[tokio::test]
async fn what_the_receiver_closed_is_not_given_out() {
    let pool = pool(8, 8, LONG);
    let one = origin("one");
    let (open, _far) = http1().await;
    pool.put(&one, open);
    let (connection, far) = http1().await;
    pool.put(&one, connection);
    drop(far);
    assert!(pool.take(&one).is_some(), "the older one is still open");
    assert!(pool.take(&one).is_none());
    // Nor is it kept.
    let (connection, far) = http1().await;
    drop(far);
    pool.put(&one, connection);
    assert_eq!(pool.state.lock().kept.len(), 0);
}

#[tokio::test]
async fn one_leads_and_the_others_wait_for_its_end() {
    let pool = pool(8, 8, LONG);
    let one = origin("one");
    let lead = pool.lead(&one).unwrap();
    let ended = pool.lead(&one).unwrap_err();
    assert!(pool.lead(&origin("other")).is_ok());
    assert!(!ended.is_cancelled());
    drop(lead);
    ended.cancelled().await;
    assert!(pool.lead(&one).is_ok());
}
