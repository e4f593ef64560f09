// postgres.js (`postgres`): always a pool, here of one connection. `node postgres_js.js SCENARIO`, where to connect in PGHOST and its kin, which it reads itself.
'use strict'

const postgres = require('postgres')
const { pipeline: stream } = require('node:stream/promises')
const { Readable, Writable } = require('node:stream')

const item = (sql, number) => sql`select id, name, price from item where id = ${number}`
const name = (sql, number) => sql`select name from item where id = ${number}`

const works = {
  async connect(sql) {
    const connection = await sql.reserve()
    connection.release()
  },

  async one_query(sql) {
    await item(sql, 7)
  },

  async ten_queries(sql) {
    for (let number = 1; number <= 10; number++) await item(sql, number)
  },

  async pipeline(sql) {
    await name(sql, 4) // what is not connected and prepared yet is not pipelined
    await Promise.all([1, 2, 3].map((number) => name(sql, number)))
  },

  async executemany(sql) {
    const rows = Array.from({ length: 100 }, (_, number) => [1000 + number, `batch ${number}`, number % 7 ? `${number}.25` : null])
    await sql`insert into item (id, name, price) values ${sql(rows)}`
  },

  async types(sql) {
    const moment = new Date('2026-02-03T04:05:06.000Z')
    await sql`select ${-2}::int2, ${4}::int4, ${2n ** 40n}::int8, ${true}::bool, ${1.5}::float8, ${'12.340'}::numeric, ${'naïve ✓'}::text,
      ${Buffer.from([0, 255])}::bytea, ${moment}::timestamptz, ${moment}::date, ${'00000000-0000-0000-0000-000000000007'}::uuid, ${[1, null, 3]}::int4[]`
  },

  async copy_in(sql) {
    const rows = Array.from({ length: 20 }, (_, number) => `${2000 + number}\tcopied ${number}\n`)
    await stream(Readable.from([rows.join('')]), await sql`copy item (id, name) from stdin`.writable())
  },

  async copy_out(sql) {
    const nowhere = new Writable({ write: (chunk, encoding, done) => done() })
    await stream(await sql`copy item (id, name, price) to stdout`.readable(), nowhere)
  },

  async notify(sql) {
    let hear
    const heard = new Promise((resolve) => (hear = resolve))
    await sql.listen('captures', hear)
    await sql.notify('captures', 'hello')
    await heard
  },

  async failure(sql) {
    try {
      await sql.begin(async (sql) => {
        await sql`update item set price = price + 1 where id = ${1}`
        await sql`insert into item (id, name) values (${1}, ${'twice'})`
      })
    } catch {}
  },

  async cancel(sql) {
    const slow = sql`select pg_sleep(30)`
    setTimeout(() => slow.cancel(), 500)
    await slow.catch(() => {})
    await sql`select 1`
  },

  async pool(sql) {
    for (let number = 1; number <= 3; number++) {
      const connection = await sql.reserve()
      await name(connection, number)
      connection.release()
    }
  },
}

async function main(scenario) {
  const sql = postgres({ max: 1 })
  await works[scenario](sql)
  await sql.end()
}

main(process.argv[2])
