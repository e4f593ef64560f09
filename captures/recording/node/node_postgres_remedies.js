// node-postgres: a program with a finding, and with `remedied` as second argument the same by the remedy. The names are those of
// pgtrace/identify/drivers/node_postgres.py; tests/live/remedied_elsewhere.py runs them.
'use strict'

const { Client, Pool } = require('pg')

const [, , scenario, how] = process.argv
const remedied = how === 'remedied'
const BY_ID = 'select name from item where id = $1'
const IDS = [...Array(12).keys()]

const works = {
  async 'node-postgres-any'(client) {
    if (remedied) await client.query('select name from item where id = any($1)', [IDS])
    else for (const id of IDS) await client.query(BY_ID, [id])
  },

  async 'node-postgres-unnest'(client) {
    const ids = IDS.map(String)
    if (remedied) await client.query('insert into written (id) select unnest($1::int[])', [ids])
    else for (const id of ids) await client.query('insert into written (id) values ($1)', [id])
  },

  async 'node-postgres-one-name'(client) {
    for (const id of IDS) {
      const name = remedied ? 'by_id' : `by_id_${id}`
      for (let times = 0; times < 2; times++) {
        await client.query({ name, text: BY_ID, values: [id] })
        await client.query('select count(*) from item where id <> $1', [id])
      }
    }
  },

  async 'node-postgres-named'(client) {
    for (const id of IDS) {
      await client.query(remedied ? { name: 'by_id', text: BY_ID, values: [id] } : { text: BY_ID, values: [id] })
      await client.query('select now()')
    }
  }
}

async function connected(work) {
  const client = new Client()
  await client.connect()
  await work(client)
  await client.end()
}

async function pool() {
  const pool = new Pool({ max: 1 })
  for (const id of IDS) await pool.query(BY_ID, [id])
  await pool.end()
}

async function main() {
  if (scenario !== 'node-postgres-pool') return connected(works[scenario])
  if (remedied) return pool()
  for (const id of IDS) await connected((client) => client.query(BY_ID, [id]))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
