use std::num::NonZeroU32;

use futures_util::poll;

use super::super::share::Share;
use super::*;

fn turns(max_wait: Duration) -> Arc<Turns> {
    with_share(max_wait, NonZeroU32::MAX)
}

fn with_share(max_wait: Duration, percent: NonZeroU32) -> Arc<Turns> {
    let bounds = Bounds {
        running: 1,
        running_per_tenant: 1,
        waiting: 9,
        waiting_per_tenant: 9,
        share: Share { percent },
    };
    Turns::new(bounds, max_wait)
}

/// Half a core, of which "a" has used so much that there is some left in three seconds.
async fn used_up(max_wait: Duration) -> (Arc<Turns>, Arc<str>) {
    let (turns, tenant) = (
        with_share(max_wait, NonZeroU32::new(50).unwrap()),
        Arc::from("a"),
    );
    let mut turn = turns.take(&tenant, None).await.unwrap();
    turn.used = Duration::from_secs(2);
    drop(turn);
    (turns, tenant)
}

fn is_armed(turns: &Turns) -> bool {
    turns.queue.lock().alarm.is_some()
}

#[tokio::test]
async fn a_wait_has_an_end() {
    let (turns, tenant) = (turns(Duration::from_millis(5)), Arc::from("a"));
    let held = turns.take(&tenant, None).await.unwrap();
    assert!(turns.take(&tenant, None).await.is_none());
    drop(held);
    assert!(turns.take(&tenant, None).await.is_some());
}

#[tokio::test]
async fn a_dropped_wait_passes_its_turn_on() {
    let (turns, tenant) = (turns(Duration::MAX), Arc::from("a"));
    let held = turns.take(&tenant, None).await.unwrap();
    let mut gone = Box::pin(turns.take(&tenant, None));
    let mut next = Box::pin(turns.take(&tenant, None));
    assert!(poll!(&mut gone).is_pending());
    assert!(poll!(&mut next).is_pending());
    // Granted to the first, which goes away without looking.
    drop(held);
    drop(gone);
    assert!(next.await.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_has_used_its_share_goes_on_when_there_is_some_again() {
    let (turns, tenant) = used_up(Duration::MAX).await;
    assert!(!is_armed(&turns), "nobody waits");
    let before = Instant::now();
    let mut turn = turns.take(&tenant, None).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    assert!(!is_armed(&turns));
    // A run that is taken to cost half a second was charged so much, and costs less.
    turn.used = Duration::from_millis(10);
    drop(turn);
    let before = Instant::now();
    assert!(turns.take(&tenant, None).await.is_some());
    assert_eq!(before.elapsed(), Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn others_do_not_wait_for_it() {
    let (turns, tenant) = used_up(Duration::MAX).await;
    let mut resting = Box::pin(turns.take(&tenant, None));
    assert!(poll!(&mut resting).is_pending());
    let before = Instant::now();
    for _ in 0..100 {
        assert!(turns.take(&Arc::from("b"), None).await.is_some());
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(resting.await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_first_to_have_some_again_is_woken_first() {
    let (turns, late) = used_up(Duration::MAX).await;
    let early = Arc::from("b");
    let mut turn = turns.take(&early, None).await.unwrap();
    turn.used = Duration::from_secs(1);
    drop(turn);
    let before = Instant::now();
    let (late, early) = tokio::join!(
        async { turns.take(&late, None).await.map(|_| before.elapsed()) },
        async { turns.take(&early, None).await.map(|_| before.elapsed()) },
    );
    let seconds = Duration::from_secs;
    assert_eq!((early, late), (Some(seconds(1)), Some(seconds(3))));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_share_has_an_end_too_and_leaves_no_alarm() {
    let (turns, tenant) = used_up(Duration::from_secs(2)).await;
    assert!(turns.take(&tenant, None).await.is_none());
    assert!(!is_armed(&turns));
    // What the first waited for has come nearer meanwhile.
    assert!(turns.take(&tenant, None).await.is_some());
}
