// node-postgres (`pg`): a query with values is an extended one each time. `node node_postgres.js SCENARIO`, where to connect in PGHOST and its kin, which pg reads itself.
'use strict'

const { Client, Pool } = require('pg')
const copy = require('pg-copy-streams')
const { pipeline: stream } = require('node:stream/promises')
const { Readable } = require('node:stream')
const { once } = require('node:events')

const ITEM = 'select id, name, price from item where id = $1'

const works = {
  async connect() {},

  async one_query(client) {
    await client.query(ITEM, [7])
  },

  async ten_queries(client) {
    for (let number = 1; number <= 10; number++) await client.query(ITEM, [number])
  },

  async pipeline(client) {
    await Promise.all([1, 2, 3].map((number) => client.query('select name from item where id = $1', [number])))
  },

  async executemany(client) {
    const text = 'insert into item (id, name, price) values ($1, $2, $3)'
    for (let number = 0; number < 100; number++) {
      await client.query({ name: 'insert', text, values: [1000 + number, `batch ${number}`, number % 7 ? `${number}.25` : null] })
    }
  },

  async types(client) {
    const moment = new Date('2026-02-03T04:05:06.000Z')
    await client.query(
      'select $1::int2, $2::int4, $3::int8, $4::bool, $5::float8, $6::numeric, $7::text, $8::bytea, $9::timestamptz, $10::date, $11::uuid, $12::int4[]',
      [-2, 4, 2n ** 40n, true, 1.5, '12.340', 'naïve ✓', Buffer.from([0, 255]), moment, moment, '00000000-0000-0000-0000-000000000007', [1, null, 3]]
    )
  },

  async copy_in(client) {
    const rows = Array.from({ length: 20 }, (_, number) => `${2000 + number}\tcopied ${number}\n`)
    await stream(Readable.from([rows.join('')]), client.query(copy.from('copy item (id, name) from stdin')))
  },

  async copy_out(client) {
    const rows = client.query(copy.to('copy item (id, name, price) to stdout'))
    rows.resume()
    await once(rows, 'end')
  },

  async notify(client) {
    const heard = once(client, 'notification')
    await client.query('listen captures')
    await client.query("notify captures, 'hello'")
    await heard
  },

  async failure(client) {
    try {
      await client.query('BEGIN')
      await client.query('update item set price = price + 1 where id = $1', [1])
      await client.query('insert into item (id, name) values ($1, $2)', [1, 'twice'])
    } catch {
      await client.query('ROLLBACK')
    }
  },
}

async function pool() {
  const clients = new Pool({ max: 1 })
  for (let number = 1; number <= 3; number++) {
    const client = await clients.connect()
    await client.query('select name from item where id = $1', [number])
    client.release()
  }
  await clients.end()
}

async function main(scenario) {
  if (scenario === 'pool') return pool()
  const client = new Client({ pipeline: scenario === 'pipeline' })
  await client.connect()
  await works[scenario](client)
  await client.end()
}

main(process.argv[2])
