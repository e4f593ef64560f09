//! tokio-postgres. Futures that are polled together are a pipeline; it has no pool of its own.

use std::io::Cursor;
use std::time::Duration;

use futures_util::future::{poll_fn, try_join_all};
use futures_util::{SinkExt, TryStreamExt, pin_mut};
use played::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, CopyInSink, NoTls, Notification};

fn main() -> Done {
    run(async |scenario, url| {
        let (mut client, mut connection) = tokio_postgres::connect(&url, NoTls).await?;
        let (heard, notifications) = unbounded_channel();
        let driving = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message {
                    let _ = heard.send(notification);
                }
            }
        });
        work(&scenario, &mut client, notifications).await?;
        drop(client);
        driving.await?;
        Ok(())
    })
}

async fn work(scenario: &str, client: &mut Client, notifications: UnboundedReceiver<Notification>) -> Done {
    match scenario {
        "connect" => Ok(()),
        "one_query" => one_query(client).await,
        "ten_queries" => ten_queries(client).await,
        "pipeline" => pipeline(client).await,
        "executemany" => executemany(client).await,
        "types" => types(client).await,
        "copy_in" => copy_in(client).await,
        "copy_out" => copy_out(client).await,
        "notify" => notify(client, notifications).await,
        "failure" => failure(client).await,
        "cancel" => cancel(client).await,
        _ => Err(format!("no scenario {scenario}").into()),
    }
}

async fn one_query(client: &Client) -> Done {
    client.query_one(SELECT, &[&7]).await?;
    Ok(())
}

/// It has no cache: what is to be parsed once is prepared.
async fn ten_queries(client: &Client) -> Done {
    let statement = client.prepare(SELECT).await?;
    for number in 1..=10 {
        client.query_one(&statement, &[&number]).await?;
    }
    Ok(())
}

async fn pipeline(client: &Client) -> Done {
    let statement = client.prepare(NAME).await?;
    try_join_all([1, 2, 3].iter().map(async |number| client.query_one(&statement, &[number]).await)).await?;
    Ok(())
}

/// It has none of its own; rows that do not wait for one another are what its documentation shows.
async fn executemany(client: &Client) -> Done {
    let statement = client.prepare(INSERT).await?;
    let rows: Vec<_> = (0..100).map(batch).collect();
    try_join_all(rows.iter().map(async |(id, name, price)| client.execute(&statement, &[id, name, price]).await)).await?;
    Ok(())
}

async fn types(client: &Client) -> Done {
    let price = rust_decimal::Decimal::new(12340, 3);
    let bytes: &[u8] = &[0, 0xff];
    let (at, on, id, numbers) = (moment(), date(), id(), vec![Some(1), None, Some(3)]);
    let values: &[&(dyn ToSql + Sync)] =
        &[&-2i16, &4i32, &(1i64 << 40), &true, &1.5f64, &price, &"naïve ✓", &bytes, &at, &on, &id, &numbers];
    client.query_one(TYPES, values).await?;
    Ok(())
}

async fn copy_in(client: &Client) -> Done {
    let sink: CopyInSink<Cursor<String>> = client.copy_in(COPY_IN).await?;
    pin_mut!(sink);
    sink.send(Cursor::new(copy_text())).await?;
    sink.finish().await?;
    Ok(())
}

async fn copy_out(client: &Client) -> Done {
    client.copy_out(COPY_OUT).await?.try_for_each(async |_| Ok(())).await?;
    Ok(())
}

async fn notify(client: &Client, mut notifications: UnboundedReceiver<Notification>) -> Done {
    client.batch_execute(LISTEN).await?;
    client.batch_execute(NOTIFY).await?;
    notifications.recv().await.ok_or("nothing heard")?;
    Ok(())
}

async fn failure(client: &mut Client) -> Done {
    let transaction = client.transaction().await?;
    transaction.execute(UPDATE, &[&1]).await?;
    transaction.execute(TWICE, &[&1, &"twice"]).await.expect_err("no unique violation");
    transaction.rollback().await?;
    Ok(())
}

async fn cancel(client: &Client) -> Done {
    let token = client.cancel_token();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        token.cancel_query(NoTls).await
    };
    let (stopped, slept) = futures_util::join!(stop, client.batch_execute(TOO_LONG));
    stopped?;
    slept.expect_err("not cancelled");
    client.batch_execute("select 1").await?;
    Ok(())
}
