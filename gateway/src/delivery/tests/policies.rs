//! Whose retry policy holds.

use super::rig::{Receiver, Rig, Setup};
use crate::domain::{DeliveryState, Organization, RetryPolicy, Timestamp};

impl Rig {
    /// Gives the organization this policy.
    async fn organization_retries(&self, policy: Option<&str>) {
        let retry = policy.map(|text| RetryPolicy::parse(text).unwrap());
        let org = self.app.org;
        match self.store.get::<Organization>(org).await.unwrap() {
            Some(stored) => {
                let changed = Organization {
                    retry,
                    ..stored.value.clone()
                };
                let write = stored.update(&changed).unwrap();
                self.store.commit(vec![write], None).await.unwrap();
            }
            None => {
                let new = Organization {
                    retry,
                    ..Organization::new(org, Timestamp::default())
                };
                self.store.insert(&new, None).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn the_endpoints_policy_goes_before_the_organizations_and_that_before_the_gateways() {
    let rig = Setup::default().retry("").start().await;
    let receiver = Receiver::start().await;
    receiver.always(500);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let tries = async || {
        let message = rig.submit("{}").await;
        let state = rig.settled(&message, &endpoint).await;
        assert_eq!(state, DeliveryState::Failed);
        rig.row(&message, &endpoint).await.unwrap().tries
    };
    assert_eq!(tries().await, 1, "the gateway's");
    // The record appears after the first attempts, and changes between others.
    rig.organization_retries(Some("1ms")).await;
    assert_eq!(tries().await, 2, "the organization's");
    rig.change_endpoint(endpoint.id, |endpoint| {
        endpoint.retry = Some(RetryPolicy::parse("1ms,1ms").unwrap());
    })
    .await;
    assert_eq!(tries().await, 3, "the endpoint's");
    rig.change_endpoint(endpoint.id, |endpoint| endpoint.retry = None)
        .await;
    rig.organization_retries(Some("1ms,1ms,1ms")).await;
    assert_eq!(tries().await, 4, "the organization's as it stands now");
    rig.organization_retries(None).await;
    assert_eq!(tries().await, 1, "the gateway's again");
    rig.stop().await;
}
