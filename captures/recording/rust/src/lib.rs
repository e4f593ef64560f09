//! What the programs of this package share: the scenario to play from the command line, where to connect from DATABASE_URL, and the values of
//! captures/recording/scenarios.py.

use std::future::Future;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

pub const SELECT: &str = "select id, name, price from item where id = $1";
pub const NAME: &str = "select name from item where id = $1";
pub const INSERT: &str = "insert into item (id, name, price) values ($1, $2, $3)";
pub const UPDATE: &str = "update item set price = price + 1 where id = $1";
pub const TWICE: &str = "insert into item (id, name) values ($1, $2)";
pub const TYPES: &str = "select $1::int2, $2::int4, $3::int8, $4::bool, $5::float8, $6::numeric, $7::text, $8::bytea, $9::timestamptz, $10::date, \
     $11::uuid, $12::int4[]";
pub const COPY_IN: &str = "copy item (id, name) from stdin";
pub const COPY_OUT: &str = "copy item (id, name, price) to stdout";
pub const TOO_LONG: &str = "select pg_sleep(30)";
pub const LISTEN: &str = "listen captures";
pub const NOTIFY: &str = "notify captures, 'hello'";

pub type Failure = Box<dyn std::error::Error>;
pub type Done = Result<(), Failure>;

/// The n-th row that executemany inserts.
pub fn batch(n: i32) -> (i32, String, Option<Decimal>) {
    (1000 + n, format!("batch {n}"), (n % 7 != 0).then(|| Decimal::new(i64::from(n) * 100 + 25, 2)))
}

/// The 20 rows that COPY brings in.
pub fn copy_text() -> String {
    (0..20).map(|n| format!("{}\tcopied {n}\n", 2000 + n)).collect()
}

pub fn moment() -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(1_770_091_506_000_789_000)
}

pub fn date() -> NaiveDate {
    moment().date_naive()
}

pub fn id() -> Uuid {
    Uuid::from_u128(7)
}

/// Play the scenario that the command line names, on one thread.
pub fn run<F: Future<Output = Done>>(play: impl FnOnce(String, String) -> F) -> Done {
    let scenario = std::env::args().nth(1).ok_or("no scenario")?;
    let url = std::env::var("DATABASE_URL")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(play(scenario, url))
}
