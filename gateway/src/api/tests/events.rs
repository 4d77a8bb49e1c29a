//! What is told of endpoints that somebody changes.

use super::*;

impl Api {
    /// The names of what was told since the last look.
    fn told(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.told.try_recv().ok())
            .map(|event| event.name())
            .collect()
    }
}

#[tokio::test]
async fn every_change_of_an_endpoint_is_told_once() {
    let mut api = Api::new();
    let app = api.app().await;
    let endpoint = api.endpoint(&app).await;
    assert_eq!(api.told(), ["endpoint.created"]);
    api.patch(&endpoint, json!({"description": "x"}))
        .await
        .ok(200);
    assert_eq!(api.told(), ["endpoint.updated"]);
    api.patch(&endpoint, json!({"disabled": true}))
        .await
        .ok(200);
    assert_eq!(api.told(), ["endpoint.updated", "endpoint.disabled"]);
    api.put(&endpoint, json!({"url": URL})).await.ok(200);
    assert_eq!(api.told(), ["endpoint.updated", "endpoint.enabled"]);
    api.post(&format!("{endpoint}/pause"), json!({}))
        .await
        .ok(200);
    assert_eq!(api.told(), ["endpoint.updated"]);
    api.put(&format!("{app}/endpoint/other"), json!({"url": URL}))
        .await
        .ok(201);
    assert_eq!(api.told(), ["endpoint.created"]);
    api.delete(&endpoint).await.ok(204);
    assert_eq!(api.told(), ["endpoint.deleted"]);
    // What is refused is not told.
    api.patch(&format!("{app}/endpoint/other"), json!({"url": 1}))
        .await
        .ok(422);
    api.get(&endpoint).await.ok(404);
    assert!(api.told().is_empty());
}
