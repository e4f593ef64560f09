//! sqlx, whose statements are prepared and kept (100 of them) unless `persistent(false)` says otherwise. It cannot cancel.

use futures_util::TryStreamExt;
use played::*;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use sqlx::{Connection, Executor};

fn main() -> Done {
    run(async |scenario, url| match scenario.as_str() {
        "notify" => notify(&url).await,
        "pool" => pool(&url).await,
        _ => {
            let mut connection = PgConnection::connect(&url).await?;
            work(&scenario, &mut connection).await?;
            connection.close().await?;
            Ok(())
        }
    })
}

async fn work(scenario: &str, connection: &mut PgConnection) -> Done {
    match scenario {
        "connect" => Ok(()),
        "one_query" => fetch(connection, 7).await,
        "ten_queries" => ten_queries(connection).await,
        "executemany" => executemany(connection).await,
        "types" => types(connection).await,
        "copy_in" => copy_in(connection).await,
        "copy_out" => copy_out(connection).await,
        "failure" => failure(connection).await,
        _ => Err(format!("no scenario {scenario}").into()),
    }
}

async fn fetch(connection: &mut PgConnection, number: i32) -> Done {
    sqlx::query(SELECT).bind(number).fetch_one(connection).await?;
    Ok(())
}

async fn ten_queries(connection: &mut PgConnection) -> Done {
    for number in 1..=10 {
        fetch(connection, number).await?;
    }
    Ok(())
}

/// It has none of its own: one row after the other, in a transaction.
async fn executemany(connection: &mut PgConnection) -> Done {
    let mut transaction = connection.begin().await?;
    for (id, name, price) in (0..100).map(batch) {
        sqlx::query(INSERT).bind(id).bind(name).bind(price).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn types(connection: &mut PgConnection) -> Done {
    let query = sqlx::query(TYPES).bind(-2i16).bind(4i32).bind(1i64 << 40).bind(true).bind(1.5f64);
    let query = query.bind(rust_decimal::Decimal::new(12340, 3)).bind("naïve ✓").bind(vec![0u8, 0xff]);
    let query = query.bind(moment()).bind(date()).bind(id()).bind(vec![Some(1), None, Some(3)]);
    query.fetch_one(connection).await?;
    Ok(())
}

async fn copy_in(connection: &mut PgConnection) -> Done {
    let mut copy = connection.copy_in_raw(COPY_IN).await?;
    copy.send(copy_text().into_bytes()).await?;
    copy.finish().await?;
    Ok(())
}

async fn copy_out(connection: &mut PgConnection) -> Done {
    connection.copy_out_raw(COPY_OUT).await?.try_for_each(async |_| Ok(())).await?;
    Ok(())
}

/// A listener has a connection of its own.
async fn notify(url: &str) -> Done {
    let mut listener = PgListener::connect(url).await?;
    listener.listen("captures").await?;
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(NOTIFY).await?;
    listener.recv().await?;
    connection.close().await?;
    Ok(())
}

async fn failure(connection: &mut PgConnection) -> Done {
    let mut transaction = connection.begin().await?;
    sqlx::query(UPDATE).bind(1).execute(&mut *transaction).await?;
    let twice = sqlx::query(TWICE).bind(1).bind("twice").execute(&mut *transaction).await;
    twice.expect_err("no unique violation");
    transaction.rollback().await?;
    Ok(())
}

async fn pool(url: &str) -> Done {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    for number in 1..=3 {
        sqlx::query(NAME).bind(number).fetch_one(&pool).await?;
    }
    pool.close().await;
    Ok(())
}
