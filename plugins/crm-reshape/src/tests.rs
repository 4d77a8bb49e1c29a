//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};
use serde_json::json;

use super::*;

fn reshape(payload: Value, config: Value) -> Run {
    run(Plugin, event("a").json(&payload), config)
}

fn stripe(object: Value) -> Value {
    json!({"object": "event", "created": 0, "data": {"object": object}})
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn the_smallest_of_each_is_a_record() {
    let record: Value = reshape(json!({"order_number": 1, "line_items": []}), json!({})).json();
    assert_eq!(
        record,
        json!({"provider": "shopify", "event": "a", "number": 1})
    );
    let record: Value = reshape(stripe(json!({"object": "charge"})), json!({})).json();
    let expected =
        json!({"provider": "stripe", "event": "a", "occurredAt": "1970-01-01T00:00:00Z"});
    assert_eq!(record, expected);
}

#[test]
fn each_object_of_stripe_keeps_the_person_elsewhere() {
    let person = json!({"email": "a@example.com", "name": "Ada van Example", "phone": "1", "address": {"city": "Ulm"}});
    let objects = [
        json!({"object": "checkout.session", "customer_details": person}),
        json!({"object": "charge", "billing_details": person}),
        json!({"object": "customer", "email": "a@example.com", "name": "Ada van Example", "phone": "1", "address": {"city": "Ulm"}}),
        json!({"object": "invoice", "customer_email": "a@example.com", "customer_name": "Ada van Example",
            "customer_phone": "1", "customer_address": {"city": "Ulm"}}),
    ];
    for object in objects {
        let record: Value = reshape(stripe(object.clone()), json!({})).json();
        for (field, value) in [
            ("email", "a@example.com"),
            ("firstName", "Ada"),
            ("lastName", "van Example"),
            ("phone", "1"),
            ("city", "Ulm"),
        ] {
            assert_eq!(record[field], value, "{object}");
        }
    }
    let intent = json!({"object": "payment_intent", "receipt_email": "b@example.com"});
    assert_eq!(
        reshape(stripe(intent), json!({})).json::<Value>()["email"],
        "b@example.com"
    );
}

#[test]
fn fields_get_the_receivers_names() {
    let order =
        json!({"order_number": 1, "line_items": [], "email": "a@example.com", "currency": "EUR"});
    let config = json!({
        "names": {"email": "Email__c", "number": "Order__c"}, "namedOnly": true, "constants": {"source": "web", "vip": false},
    });
    assert_eq!(
        reshape(order, config).json::<Value>(),
        json!({"Email__c": "a@example.com", "Order__c": 1, "source": "web", "vip": false})
    );
}

#[test]
fn other_payloads_are_rejected() {
    for payload in [
        json!({}),
        json!([1]),
        json!({"object": "event"}),
        json!({"object": "charge"}),
        json!({"line_items": []}),
        json!({"object": "event", "data": {"object": 1}}),
    ] {
        let run = reshape(payload.clone(), json!({}));
        assert!(run.rejected().starts_with("neither"), "{payload}");
    }
}
