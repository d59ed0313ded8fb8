//! reduct-rs against a server: reduct_session URL. Ends with 0 if everything is as it should be.

use std::collections::HashMap;
use std::pin::pin;

use futures_util::StreamExt;
use reduct_rs::{Bucket, ErrorCode, QuotaType, RecordBuilder, ReductClient, ReductError};
use serde_json::{json, Value};

/// A single name goes by the older protocol, which knows no patterns; two make it the newer one.
const ALL: [&str; 2] = ["*", "none"];

type Done = Result<(), ReductError>;

async fn contents(bucket: &Bucket, entries: &[&str], when: Value) -> Result<Vec<(u64, String)>, ReductError> {
    let query = bucket.query(entries).when(when).send().await?;
    let mut query = pin!(query);
    let mut found = Vec::new();
    while let Some(record) = query.next().await {
        let record = record?;
        let time = record.timestamp_us();
        found.push((time, String::from_utf8_lossy(&record.bytes().await?).to_string()));
    }
    Ok(found)
}

async fn buckets(client: &ReductClient) -> Done {
    let bucket = client
        .create_bucket("rs-buckets")
        .quota_type(QuotaType::FIFO)
        .quota_size(1_000_000_000)
        .exist_ok(true)
        .send()
        .await?;
    assert_eq!(bucket.settings().await?.quota_size, Some(1_000_000_000));
    assert_eq!(client.server_info().await?.version, "1.21.0");
    assert!(client.bucket_list().await?.buckets.iter().any(|found| found.name == "rs-buckets"));
    client.alive().await?;
    bucket.remove().await?;
    let error = client.get_bucket("rs-buckets").await.err().expect("it was removed");
    assert_eq!(error.status, ErrorCode::NotFound);
    assert_eq!(error.message, "Bucket 'rs-buckets' is not found");
    Ok(())
}

async fn records(bucket: &Bucket) -> Done {
    bucket
        .write_record("x")
        .timestamp_us(5)
        .data("content")
        .content_type("text/plain")
        .add_label("score", 10)
        .send()
        .await?;
    let record = bucket.read_record("x").timestamp_us(5).send().await?;
    assert_eq!(record.labels().get("score").map(String::as_str), Some("10"));
    assert_eq!((record.content_type(), record.content_length()), ("text/plain", 7));
    assert_eq!(&record.bytes().await?[..], b"content");
    let again = bucket.write_record("x").timestamp_us(5).data("y").send().await;
    assert_eq!(again.err().expect("it exists").status, ErrorCode::Conflict);
    bucket.update_record("x").timestamp_us(5).update_label("score", "20").send().await?;
    assert_eq!(contents(bucket, &["x"], json!({"&score": {"$gt": 15}})).await?.len(), 1);
    bucket.remove_record("x").timestamp_us(5).send().await?;
    assert_eq!(contents(bucket, &["x"], json!({})).await?.len(), 0);
    Ok(())
}

async fn interleaved(bucket: &Bucket) -> Done {
    let mut batch = bucket.write_record_batch();
    let mut expected = Vec::new();
    for time in 1..200u64 {
        let entry = ["a", "b", "c/d"][((time * time + (time >> 2)) % 3) as usize];
        let content = format!("{entry}@{time};").repeat((1 + time % 5) as usize);
        let record = RecordBuilder::new()
            .entry(entry)
            .timestamp_us(time)
            .add_label("n".to_string(), time.to_string())
            .data(content.clone())
            .build();
        batch.append_record(record);
        expected.push((time, content));
        if time % 60 == 0 {
            let full = std::mem::replace(&mut batch, bucket.write_record_batch());
            assert!(full.send().await?.is_empty());
        }
    }
    assert!(batch.send().await?.is_empty());
    assert_eq!(contents(bucket, &ALL, json!({})).await?, expected);
    assert_eq!(contents(bucket, &ALL, json!({"&n": {"$lt": 3}})).await?, expected[..2]);
    let removed = bucket.remove_query(&ALL).when(json!({"&n": {"$gte": 3}})).send().await?;
    assert_eq!(removed, 197);
    Ok(())
}

async fn batches(bucket: &Bucket) -> Done {
    bucket.write_record("y").timestamp_us(2).data("old").send().await?;
    let mut batch = bucket.write_batch("y");
    for (time, content) in [(1, "one"), (2, "two"), (3, "three")] {
        batch.append_record(RecordBuilder::new().timestamp_us(time).data(content).build());
    }
    let failed = batch.send().await?;
    assert_eq!(failed.keys().copied().collect::<Vec<_>>(), [2]);
    let found = contents(bucket, &["y"], json!({})).await?;
    let expected = [(1, "one"), (2, "old"), (3, "three")].map(|(time, content)| (time, content.to_string()));
    assert_eq!(found, expected);
    Ok(())
}

async fn attachments(bucket: &Bucket) -> Done {
    let attachments = HashMap::from([
        ("1".to_string(), json!({"a": 1})),
        ("$system".to_string(), json!([1, 2])),
    ]);
    bucket.write_attachments("y", attachments.clone()).await?;
    assert_eq!(bucket.read_attachments("y").await?, attachments);
    bucket.remove_attachments("y", Some(vec!["$system".to_string()])).await?;
    assert_eq!(bucket.read_attachments("y").await?.len(), 1);
    Ok(())
}

#[tokio::main]
async fn main() -> Done {
    let url = std::env::args().nth(1).expect("the server's URL");
    let client = ReductClient::builder().url(&url).build();
    buckets(&client).await?;
    let bucket = client.create_bucket("rs").send().await?;
    records(&bucket).await?;
    interleaved(&bucket).await?;
    batches(&bucket).await?;
    attachments(&bucket).await?;
    bucket.remove().await
}
