//! sqlx: a program with a finding, and with `remedied` as second argument the same by the remedy. The names are those of
//! pgtrace/identify/drivers/sqlx.py; tests/live/remedied_elsewhere.py runs them.

use played::*;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::str::FromStr;

fn main() -> Done {
    let remedied = std::env::args().nth(2).is_some();
    run(async move |scenario, url| match scenario.as_str() {
        "sqlx-one-acquire" => one_acquire(&url, remedied).await,
        "sqlx-pool" => pool(&url, remedied).await,
        "sqlx-newer" => moved(&url).await,
        "sqlx-newer-42P05" => taken(&url).await,
        _ => {
            let capacity = if scenario == "sqlx-capacity" && !remedied { 0 } else { 100 };
            let options = PgConnectOptions::from_str(&url)?.statement_cache_capacity(capacity);
            let mut connection = PgConnection::connect_with(&options).await?;
            work(&scenario, &mut connection, remedied).await?;
            connection.close().await?;
            Ok(())
        }
    })
}

async fn work(scenario: &str, connection: &mut PgConnection, remedied: bool) -> Done {
    match scenario {
        "sqlx-any" if remedied => {
            let ids: Vec<i32> = (0..8).collect();
            sqlx::query("select name from item where id = any($1)").bind(ids).fetch_all(connection).await?;
        }
        "sqlx-any" => {
            for id in 0..8 {
                fetch(connection, id, true).await?;
            }
        }
        "sqlx-unnest" if remedied => {
            let ids: Vec<i32> = (0..8).collect();
            let names: Vec<String> = ids.iter().map(|id| format!("tea {id}")).collect();
            let text = "insert into written (id, name) select * from unnest($1::int[], $2::text[])";
            sqlx::query(text).bind(ids).bind(names).execute(connection).await?;
        }
        "sqlx-unnest" => {
            for id in 0..8 {
                let query = sqlx::query("insert into written (id, name) values ($1, $2)");
                query.bind(id).bind("tea").execute(&mut *connection).await?;
            }
        }
        "sqlx-persistent" => often(connection, remedied).await?,
        "sqlx-transaction" if remedied => {
            let mut transaction = connection.begin().await?;
            often(&mut transaction, false).await?;
            transaction.commit().await?;
        }
        "sqlx-transaction" => often(connection, false).await?,
        "sqlx-bound" => literals(connection, remedied, 1).await?,
        "sqlx-bound-leak" => literals(connection, remedied, 2).await?,
        "sqlx-capacity" => literals(connection, true, 2).await?,
        _ => return Err(format!("no scenario {scenario}").into()),
    }
    Ok(())
}

async fn fetch(connection: &mut PgConnection, id: i32, persistent: bool) -> Done {
    sqlx::query(NAME).bind(id).persistent(persistent).fetch_optional(connection).await?;
    Ok(())
}

async fn often(connection: &mut PgConnection, persistent: bool) -> Done {
    for id in 0..10 {
        fetch(connection, id, persistent).await?;
        connection.execute("select now()").await?;
    }
    Ok(())
}

/// Values in the text, or bound; each so many times.
async fn literals(connection: &mut PgConnection, bound: bool, times: u32) -> Done {
    for id in 0..12 {
        for _ in 0..times {
            if bound {
                fetch(connection, id, true).await?;
            } else {
                let text = AssertSqlSafe(format!("select name from item where id = {id}"));
                sqlx::query(text).fetch_optional(&mut *connection).await?;
            }
            connection.execute("select now()").await?;
        }
    }
    Ok(())
}

async fn one_acquire(url: &str, remedied: bool) -> Done {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    if remedied {
        let mut connection = pool.acquire().await?;
        for id in 0..8 {
            fetch(&mut connection, id, true).await?;
        }
    } else {
        for id in 0..8 {
            sqlx::query(NAME).bind(id).fetch_optional(&pool).await?;
        }
    }
    pool.close().await;
    Ok(())
}

async fn pool(url: &str, remedied: bool) -> Done {
    if remedied {
        let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
        for id in 0..8 {
            sqlx::query(NAME).bind(id).fetch_optional(&pool).await?;
        }
        pool.close().await;
        return Ok(());
    }
    for id in 0..8 {
        let mut connection = PgConnection::connect(url).await?;
        fetch(&mut connection, id, true).await?;
        connection.close().await?;
    }
    Ok(())
}

/// Two clients on two server connections: one holds the first's while that goes on in the other.
async fn moved(url: &str) -> Done {
    let (mut first, mut second) = (PgConnection::connect(url).await?, PgConnection::connect(url).await?);
    fetch(&mut first, 1, true).await?;
    second.execute("begin").await?;
    second.execute("select 1 as held").await?;
    let _ = fetch(&mut first, 2, true).await;
    second.execute("rollback").await?;
    let _ = (first.close().await, second.close().await);
    Ok(())
}

/// Two clients one after the other on one server connection: both call their first statement sqlx_s_1.
async fn taken(url: &str) -> Done {
    for _ in 0..2 {
        let mut connection = PgConnection::connect(url).await?;
        let _ = fetch(&mut connection, 1, true).await;
        let _ = connection.close().await;
    }
    Ok(())
}
