//! Pages: both ways, both orders, while rows come and go.

use super::*;

async fn names(api: &Api, query: &str) -> (Vec<String>, Value) {
    let page = api
        .get(&format!("/api/v1/event-type?{query}"))
        .await
        .ok(200);
    let rows = page["data"].as_array().unwrap();
    (
        rows.iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect(),
        page,
    )
}

async fn seven() -> Api {
    let api = Api::new();
    for index in 1..=7 {
        let body = json!({"name": format!("e{index}"), "description": "", "archived": index == 4});
        api.post("/api/v1/event-type", body).await.ok(201);
    }
    api
}

#[tokio::test]
async fn pages_go_forward_and_back() {
    let api = seven().await;
    for (order, rows) in [
        ("ascending", ["e1", "e2", "e3", "e4", "e5", "e6", "e7"]),
        ("descending", ["e7", "e6", "e5", "e4", "e3", "e2", "e1"]),
    ] {
        let query = format!("include_archived=true&limit=3&order={order}");
        let (first, page) = names(&api, &query).await;
        assert_eq!(
            (&first[..], &page["done"]),
            (&rows.map(String::from)[..3], &json!(false))
        );
        let next =
            |page: &Value, key: &str| format!("{query}&iterator={}", page[key].as_str().unwrap());
        let (second, page) = names(&api, &next(&page, "iterator")).await;
        assert_eq!(second, rows[3..6]);
        let (third, end) = names(&api, &next(&page, "iterator")).await;
        assert_eq!(
            (&third[..], &end["done"]),
            (&rows.map(String::from)[6..], &json!(true))
        );
        let (back, page) = names(&api, &next(&end, "prevIterator")).await;
        assert_eq!(
            (&back[..], &page["done"]),
            (&rows.map(String::from)[3..6], &json!(false))
        );
        let (back, page) = names(&api, &next(&page, "prevIterator")).await;
        assert_eq!(
            (&back[..], &page["done"]),
            (&rows.map(String::from)[..3], &json!(true))
        );
        // Past the start, and back again, nothing is missed.
        let (none, page) = names(&api, &next(&page, "prevIterator")).await;
        assert!(none.is_empty());
        let (again, _) = names(&api, &next(&page, "iterator")).await;
        assert_eq!(again, rows[..3]);
        // Past the end likewise.
        let (none, page) = names(&api, &next(&end, "iterator")).await;
        assert!(none.is_empty());
        let (again, _) = names(&api, &next(&page, "prevIterator")).await;
        assert_eq!(again, rows[4..7]);
    }
}

#[tokio::test]
async fn a_filtered_page_is_full() {
    let api = seven().await;
    let (first, page) = names(&api, "limit=5&order=ascending").await;
    assert_eq!(
        (&first[..], &page["done"]),
        (
            &["e1", "e2", "e3", "e5", "e6"].map(String::from)[..],
            &json!(false)
        )
    );
    let iterator = page["iterator"].as_str().unwrap();
    let (rest, page) = names(
        &api,
        &format!("limit=5&order=ascending&iterator={iterator}"),
    )
    .await;
    assert_eq!(
        (&rest[..], &page["done"]),
        (&["e7".to_owned()][..], &json!(true))
    );
    let iterator = page["prevIterator"].as_str().unwrap();
    let (back, _) = names(
        &api,
        &format!("limit=3&order=ascending&iterator={iterator}"),
    )
    .await;
    assert_eq!(back, ["e3", "e5", "e6"]);
}

#[tokio::test]
async fn rows_that_come_and_go_are_neither_repeated_nor_missed() {
    let api = seven().await;
    let (_, page) = names(&api, "limit=2&order=descending").await;
    api.delete("/api/v1/event-type/e6?expunge=true")
        .await
        .ok(204);
    api.post(
        "/api/v1/event-type",
        json!({"name": "e8", "description": ""}),
    )
    .await
    .ok(201);
    let iterator = page["iterator"].as_str().unwrap();
    let (next, page) = names(
        &api,
        &format!("limit=2&order=descending&iterator={iterator}"),
    )
    .await;
    assert_eq!(next, ["e5", "e3"]);
    let iterator = page["prevIterator"].as_str().unwrap();
    let (back, _) = names(
        &api,
        &format!("limit=9&order=descending&iterator={iterator}"),
    )
    .await;
    assert_eq!(back, ["e8", "e7"]);
}
