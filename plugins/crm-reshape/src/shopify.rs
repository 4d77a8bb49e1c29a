//! Orders of Shopify: the topics `orders/…`.

use hookmill_plugin_fields::find;
use serde_json::Value;

use crate::record::Record;

pub(crate) fn record(order: &Value) -> Option<Record> {
    // What tells an order from Shopify's other payloads, and from everybody else's.
    let items = order.get("line_items")?.as_array()?;
    order.get("order_number")?;

    let mut record = Record::of("shopify");
    record.take("recordId", order, &["id"]);
    record.take("customerId", order, &["customer.id"]);
    record.take(
        "email",
        order,
        &["email", "contact_email", "customer.email"],
    );
    for (field, name) in [("firstName", "first_name"), ("lastName", "last_name")] {
        of_person(&mut record, field, name, order);
    }
    record.take(
        "company",
        order,
        &["billing_address.company", "shipping_address.company"],
    );
    of_person(&mut record, "phone", "phone", order);
    record.take("phone", order, &["phone"]);
    for (field, name) in [
        ("city", "city"),
        ("postalCode", "zip"),
        ("country", "country_code"),
    ] {
        let places = [
            format!("shipping_address.{name}"),
            format!("billing_address.{name}"),
        ];
        record.take(field, order, &places.each_ref().map(String::as_str));
    }
    record.take("amount", order, &["current_total_price", "total_price"]);
    record.take("currency", order, &["currency"]);
    record.take("status", order, &["financial_status"]);
    record.take("number", order, &["name", "order_number"]);
    record.set(
        "items",
        items.iter().filter_map(item).collect::<Vec<_>>().join(", "),
    );
    record.take("occurredAt", order, &["updated_at", "created_at"]);
    Some(record)
}

fn of_person(record: &mut Record, field: &str, name: &str, order: &Value) {
    let places =
        ["customer", "billing_address", "shipping_address"].map(|of| format!("{of}.{name}"));
    record.take(field, order, &places.each_ref().map(String::as_str));
}

/// An item as `2 x A-1`; by its title where it has no SKU.
fn item(item: &Value) -> Option<String> {
    let text = |name| {
        find(item, name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let quantity = item.get("quantity").and_then(Value::as_u64)?;
    let name = text("sku").or_else(|| text("title"))?;
    Some(format!("{quantity} x {name}"))
}
