//! Keeps the results of chains, so that a retry sends what the first try made, and the same chain is not run twice
//! at once for the same event. Only what would come out again is kept: never a time-out.

use std::future::Future;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::chain::Ran;
use super::result::{ChainOutcome, ChainResult, MemoKey};

/// The results, up to a number of bytes; those used least go first.
#[derive(Debug)]
pub(super) struct Memo {
    results: Cache<MemoKey, Arc<ChainResult>, Bytes>,
}

/// Weighs a result by the memory that it holds.
#[derive(Debug, Clone)]
struct Bytes;

/// Bytes that an entry takes besides its texts and payload: key, report, the cache's own. Chosen on the high side.
const OVERHEAD: u64 = 512;

/// A usual entry, by which the cache sizes its tables: a delivered payload of 1 KiB and its reports.
const USUAL: u64 = 2048;

impl Memo {
    pub(super) fn new(bytes: u64) -> Self {
        let usual = usize::try_from(bytes / USUAL).unwrap_or(usize::MAX).max(1);
        Self {
            results: Cache::with_weighter(usual, bytes, Bytes),
        }
    }

    /// The kept result, or what `run` comes to; others who ask meanwhile wait for it.
    pub(super) async fn get_or_run(
        &self,
        key: &MemoKey,
        run: impl Future<Output = Ran>,
    ) -> ChainResult {
        let kept = self.results.get_or_insert_async(key, async {
            let Ran { result, repeatable } = run.await;
            if repeatable {
                Ok(Arc::new(result))
            } else {
                Err(result)
            }
        });
        match kept.await {
            Ok(result) => ChainResult::clone(&result),
            Err(result) => result,
        }
    }
}

impl Weighter<MemoKey, Arc<ChainResult>> for Bytes {
    fn weight(&self, key: &MemoKey, result: &Arc<ChainResult>) -> u64 {
        let outcome = match &result.outcome {
            ChainOutcome::Deliver {
                content_type,
                headers,
                payload,
            } => {
                let headers: usize = headers
                    .iter()
                    .map(|(name, value)| name.len() + value.len())
                    .sum();
                content_type.len() + headers + payload.len()
            }
            ChainOutcome::Drop { reason, .. } | ChainOutcome::Reject { reason, .. } => reason.len(),
            ChainOutcome::Failed { error, .. } => error.len(),
            ChainOutcome::Pass | ChainOutcome::Unavailable => 0,
        };
        let logs = result
            .steps
            .iter()
            .flat_map(|step| &step.logs)
            .map(|line| line.text.len() + 32);
        let texts = key.message.len() + key.owner.len() + outcome + logs.sum::<usize>();
        texts as u64 + OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn key(revision: u64) -> MemoKey {
        MemoKey {
            message: "msg_1".into(),
            owner: "ep_1".into(),
            revision,
        }
    }

    fn ran(outcome: ChainOutcome) -> Ran {
        Ran {
            result: ChainResult {
                outcome,
                steps: vec![],
            },
            repeatable: true,
        }
    }

    async fn runs(outcome: ChainOutcome, repeatable: bool, revisions: [u64; 2]) -> usize {
        let (memo, runs) = (Memo::new(1 << 20), AtomicUsize::new(0));
        for revision in revisions {
            let run = async {
                runs.fetch_add(1, Ordering::Relaxed);
                Ran {
                    repeatable,
                    ..ran(outcome.clone())
                }
            };
            assert_eq!(memo.get_or_run(&key(revision), run).await.outcome, outcome);
        }
        runs.into_inner()
    }

    #[tokio::test]
    async fn what_would_come_out_again_is_kept_for_its_revision() {
        let outcome = ChainOutcome::Drop {
            plugin: "p".into(),
            reason: "r".into(),
        };
        assert_eq!(runs(outcome.clone(), true, [1, 1]).await, 1);
        assert_eq!(runs(outcome.clone(), true, [1, 2]).await, 2);
        assert_eq!(runs(outcome, false, [1, 1]).await, 2);
    }

    #[tokio::test]
    async fn one_runs_while_others_wait() {
        let (memo, key) = (Memo::new(1 << 20), key(1));
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let mut first = Box::pin(memo.get_or_run(&key, async {
            gate.await.unwrap();
            ran(ChainOutcome::Pass)
        }));
        let mut second = Box::pin(memo.get_or_run(&key, async { panic!("run twice") }));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        go.send(()).unwrap();
        assert_eq!(first.await, second.await);
    }

    #[tokio::test]
    async fn who_waits_takes_over_from_who_gives_up() {
        let (memo, key) = (Memo::new(1 << 20), key(1));
        let mut first = Box::pin(memo.get_or_run(&key, std::future::pending()));
        let mut second = Box::pin(memo.get_or_run(&key, async { ran(ChainOutcome::Pass) }));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await.outcome, ChainOutcome::Pass);
    }

    #[tokio::test]
    async fn bytes_are_bounded() {
        let memo = Memo::new(64 << 10);
        for revision in 0..100 {
            let outcome = ChainOutcome::Deliver {
                content_type: "a/b".into(),
                headers: vec![],
                payload: vec![0; 4 << 10].into(),
            };
            memo.get_or_run(&key(revision), async { ran(outcome) })
                .await;
        }
        assert!(memo.results.weight() <= 64 << 10);
        assert!(!memo.results.is_empty());
    }
}
