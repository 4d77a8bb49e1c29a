//! Many things of one batch: a backend may keep lists in pieces, and no page, end or removal may notice.

use super::*;
use crate::store::{
    AttemptFilter, AttemptsOf, Direction, MessageFilter, Order, OutboxEntry, PageRequest,
};

/// More than any piece of a list holds.
const MANY: usize = 300;

/// Accepted at once, for two applications by turns; those of the first.
async fn accept_many(subject: &Subject, app: ApplicationId) -> Vec<Message> {
    let other = super::app();
    let items = (0..2 * MANY).map(|n| item(if n % 2 == 0 { app } else { other }, "{}"));
    let accepted = subject.store.accept(items.collect()).await.unwrap();
    let messages = accepted.into_iter().map(Result::unwrap);
    messages.filter(|message| message.app == app).collect()
}

/// Reads everything in pages, from the page's first end on, then back again.
async fn there_and_back<F: Future<Output = Vec<Seq>>>(
    order: Order,
    read: impl Fn(PageRequest) -> F,
) -> Vec<Seq> {
    let mut page = PageRequest {
        order,
        ..PageRequest::first(7)
    };
    let mut there = Vec::new();
    loop {
        let rows = read(page).await;
        page.cursor = rows.last().copied().or(page.cursor);
        there.extend(&rows);
        if rows.len() < page.limit {
            break;
        }
    }
    page.direction = Direction::Backward;
    let mut back = there.last().copied().into_iter().collect::<Vec<_>>();
    page.cursor = there.last().copied();
    loop {
        let rows = read(page).await;
        page.cursor = rows.first().copied().or(page.cursor);
        back.extend(rows.iter().rev());
        if rows.len() < page.limit {
            break;
        }
    }
    back.reverse();
    assert_eq!(there, back);
    there
}

pub(crate) async fn messages_of_a_batch_are_paged(make: impl Fn() -> Subject) {
    let subject = make();
    let app = app();
    let mut expected: Vec<_> = accept_many(&subject, app).await;
    expected.extend(accept_many(&subject, app).await);
    let mut expected: Vec<_> = expected.iter().map(|message| message.seq).collect();
    let read = async |page: PageRequest| {
        let filter = MessageFilter::default();
        let found = subject.store.messages(app, &filter, page).await.unwrap();
        found.rows.iter().map(|message| message.seq).collect()
    };
    assert_eq!(there_and_back(Order::Ascending, read).await, expected);
    expected.reverse();
    assert_eq!(there_and_back(Order::Descending, read).await, expected);
}

pub(crate) async fn attempts_of_a_batch_are_paged(make: impl Fn() -> Subject) {
    let subject = make();
    let lease = subject.lease().await;
    let lane = endpoint();
    let messages = accept_many(&subject, app()).await;
    let outcomes = messages.iter().map(|one| delivered(lane, one, true));
    subject
        .store
        .record(&lease, outcomes.collect())
        .await
        .unwrap();
    let attempts = async |page: PageRequest| {
        let (of, filter) = (AttemptsOf::Endpoint(lane), AttemptFilter::default());
        subject
            .store
            .attempts(of, &filter, page)
            .await
            .unwrap()
            .rows
    };
    let read = async |page: PageRequest| attempts(page).await.iter().map(|one| one.seq).collect();
    assert_eq!(there_and_back(Order::Ascending, read).await.len(), MANY);
    let all = attempts(PageRequest::first(MANY)).await;
    let of: Vec<_> = all.iter().map(|attempt| attempt.delivery.message).collect();
    assert!(messages.iter().map(|message| message.seq).eq(of));
}

/// Deliveries end in no order, and what is left is what is shown.
pub(crate) async fn the_outbox_of_a_batch_empties(make: impl Fn() -> Subject) {
    let subject = make();
    let lease = subject.lease().await;
    let lane = endpoint();
    let messages = accept_many(&subject, app()).await;
    let mine: Vec<_> = messages.iter().map(|message| message.seq).collect();
    let left = async || {
        let read = async |after: Seq| {
            let page: Vec<OutboxEntry> = subject.store.unsettled(&lease, after, 64).await.unwrap();
            page.iter()
                .map(|entry| entry.message.seq)
                .collect::<Vec<_>>()
        };
        let (mut all, mut after) = (Vec::new(), Seq(0));
        loop {
            let page = read(after).await;
            let Some(last) = page.last() else { break };
            after = *last;
            all.extend(page);
        }
        all.retain(|seq| mine.contains(seq));
        all
    };
    assert_eq!(left().await, mine);
    for step in [3, 2, 1] {
        let outcomes = messages.iter().step_by(step).rev();
        let outcomes = outcomes.map(|one| delivered(lane, one, true)).collect();
        subject.store.record(&lease, outcomes).await.unwrap();
        let left_open = |n: &usize| {
            let gone = [3, 2, 1].into_iter().filter(|done| *done >= step);
            gone.into_iter().all(|done| !n.is_multiple_of(done))
        };
        let expected: Vec<_> = (0..MANY).filter(left_open).map(|n| mine[n]).collect();
        assert_eq!(left().await, expected);
    }
}

pub(crate) async fn messages_leave_a_batch_one_by_one(make: impl Fn() -> Subject) {
    let subject = make();
    let lease = subject.lease().await;
    let (app, lane) = (app(), endpoint());
    let items = (0..MANY).map(|n| {
        let mut item = item(app, "{}");
        item.new.message.expires_at = later(if n % 3 == 0 { 7_200 } else { 864_000 });
        item
    });
    let accepted = subject.store.accept(items.collect()).await.unwrap();
    let messages: Vec<_> = accepted.into_iter().map(Result::unwrap).collect();
    let outcomes = messages.iter().map(|one| delivered(lane, one, true));
    subject
        .store
        .record(&lease, outcomes.collect())
        .await
        .unwrap();
    assert!(sweep_all(&subject.store, later(86_400)).await >= MANY / 3);
    let kept = messages.iter().enumerate().filter(|(n, _)| n % 3 != 0);
    let kept: Vec<_> = kept.map(|(_, message)| message.seq).collect();
    let everything = PageRequest::first(MANY);
    let filter = MessageFilter::default();
    let found = subject
        .store
        .messages(app, &filter, everything)
        .await
        .unwrap();
    let found: Vec<_> = found.rows.iter().map(|message| message.seq).collect();
    assert_eq!(found, kept);
    let (of, filter) = (AttemptsOf::Endpoint(lane), AttemptFilter::default());
    let attempts = subject
        .store
        .attempts(of, &filter, everything)
        .await
        .unwrap();
    let of: Vec<_> = attempts
        .rows
        .iter()
        .map(|one| one.delivery.message)
        .collect();
    assert_eq!(of, kept);
}
