//! Events of Stripe about a customer, an invoice, a checkout or a payment.

use hookmill_plugin_fields::find;
use serde_json::Value;

use crate::money::decimal;
use crate::record::Record;

/// Where each kind of object keeps what it knows of the customer.
const PERSONS: [&str; 4] = ["customer_details.", "customer_", "billing_details.", ""];

pub(crate) fn record(event: &Value) -> Option<Record> {
    if event.get("object")?.as_str()? != "event" {
        return None;
    }
    let object = find(event, "data.object")?;
    let kind = object.get("object")?.as_str()?;

    let mut record = Record::of("stripe");
    record.take("recordId", object, &["id"]);
    record.take(
        "customerId",
        object,
        if kind == "customer" {
            &["id"]
        } else {
            &["customer"]
        },
    );
    let of_person = |record: &mut Record, field: &str, name: &str| {
        let places = PERSONS.map(|person| format!("{person}{name}"));
        record.take(field, object, &places.each_ref().map(String::as_str));
    };
    of_person(&mut record, "email", "email");
    if record.get("email").is_none() {
        record.take("email", object, &["receipt_email"]);
    }
    of_person(&mut record, "phone", "phone");
    of_person(&mut record, "city", "address.city");
    of_person(&mut record, "postalCode", "address.postal_code");
    of_person(&mut record, "country", "address.country");
    let names = PERSONS.iter().map(|person| format!("{person}name"));
    let mut names = names.filter_map(|place| find(object, &place)?.as_str());
    if let Some(name) = names.find(|name| !name.trim().is_empty()) {
        record.set_name(name);
    }

    let currency = find(object, "currency")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let currency = currency.to_ascii_uppercase();
    let amounts = ["amount_total", "amount_paid", "amount_received", "amount"];
    let amount = amounts.iter().find_map(|name| object.get(*name)?.as_i64());
    if let Some(amount) = amount {
        record.set("amount", decimal(amount, &currency));
    }
    record.set("currency", currency);
    record.take("status", object, &["payment_status", "status"]);
    record.take("number", object, &["number", "client_reference_id"]);
    let created = event.get("created").and_then(Value::as_i64);
    if let Some(time) = created.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
        record.set("occurredAt", time.to_string());
    }
    Some(record)
}
