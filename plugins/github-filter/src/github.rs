//! The few fields of GitHub's payloads that the rules look at, and where each event keeps its branch.
//! <https://docs.github.com/en/webhooks/webhook-events-and-payloads>

use serde::Deserialize;

/// What stands before a branch in a full reference.
const HEADS: &str = "refs/heads/";

/// Everything else in a payload is skipped without being kept.
#[derive(Debug, Deserialize)]
pub(crate) struct Payload {
    pub(crate) action: Option<String>,
    pub(crate) repository: Option<Repository>,
    /// `refs/heads/…` or `refs/tags/…` of a push, the bare name of what was created or deleted.
    #[serde(rename = "ref")]
    pub(crate) reference: Option<String>,
    ref_type: Option<String>,
    pull_request: Option<PullRequest>,
    workflow_run: Option<Head>,
    workflow_job: Option<Head>,
    check_suite: Option<Head>,
    check_run: Option<CheckRun>,
    merge_group: Option<MergeGroup>,
    deployment: Option<Reference>,
    release: Option<Release>,
    /// The branches that contain the commit of a `status`.
    branches: Option<Vec<Branch>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Repository {
    pub(crate) full_name: String,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    base: Reference,
}

#[derive(Debug, Deserialize)]
struct Reference {
    #[serde(rename = "ref")]
    reference: String,
}

#[derive(Debug, Deserialize)]
struct Head {
    head_branch: Option<String>,
}

#[derive(Debug, Deserialize)]
struct CheckRun {
    check_suite: Option<Head>,
}

#[derive(Debug, Deserialize)]
struct MergeGroup {
    base_ref: String,
}

#[derive(Debug, Deserialize)]
struct Release {
    target_commitish: String,
}

#[derive(Debug, Deserialize)]
struct Branch {
    name: String,
}

impl Payload {
    /// The branches that this event is about: one, several for a `status`, or none.
    pub(crate) fn branches(&self) -> Vec<&str> {
        match &self.branches {
            Some(branches) => branches.iter().map(|branch| branch.name.as_str()).collect(),
            None => self.branch().into_iter().collect(),
        }
    }

    fn branch(&self) -> Option<&str> {
        let run = self
            .check_run
            .as_ref()
            .and_then(|run| run.check_suite.as_ref());
        let heads = [&self.workflow_run, &self.workflow_job, &self.check_suite];
        let mut heads = heads.into_iter().flatten().chain(run);
        if let Some(pull_request) = &self.pull_request {
            return Some(&pull_request.base.reference);
        }
        if let Some(head) = heads.next() {
            return head.head_branch.as_deref();
        }
        if let Some(group) = &self.merge_group {
            return group.base_ref.strip_prefix(HEADS);
        }
        if let Some(deployment) = &self.deployment {
            return Some(
                deployment
                    .reference
                    .strip_prefix(HEADS)
                    .unwrap_or(&deployment.reference),
            );
        }
        if let Some(release) = &self.release {
            return Some(&release.target_commitish);
        }
        let reference = self.reference.as_deref()?;
        match self.ref_type.as_deref() {
            Some("branch") => Some(reference),
            Some(_) => None,
            None => reference.strip_prefix(HEADS),
        }
    }
}
