# ruby-pg, on libpq; the pool is connection_pool. `ruby ruby_pg.rb SCENARIO`, where to connect in PGHOST and its kin, which libpq reads itself.

require "connection_pool"
require "pg"

ITEM = "select id, name, price from item where id = $1"
NAME = "select name from item where id = $1"
TYPES = %w[int2 int4 int8 bool float8 numeric text bytea timestamptz date uuid int4[]]
VALUES = [
  -2, 4, 2**40, true, 1.5, "12.340", "naïve ✓", { value: "\x00\xff".b, format: 1 }, "2026-02-03 04:05:06.000789+00", "2026-02-03",
  "00000000-0000-0000-0000-000000000007", "{1,NULL,3}"
]

WORKS = {
  connect: ->(connection) {},
  one_query: ->(connection) { connection.exec_params(ITEM, [7]) },
  ten_queries: ->(connection) { (1..10).each { |number| connection.exec_params(ITEM, [number]) } },
  pipeline: lambda do |connection|
    connection.enter_pipeline_mode
    (1..3).each { |number| connection.send_query_params(NAME, [number]) }
    connection.pipeline_sync
    8.times { connection.get_result } # each result, the end of each, and the Sync
    connection.exit_pipeline_mode
  end,
  executemany: lambda do |connection|
    connection.prepare("insert", "insert into item (id, name, price) values ($1, $2, $3)")
    100.times { |number| connection.exec_prepared("insert", [1000 + number, "batch #{number}", number % 7 == 0 ? nil : "#{number}.25"]) }
  end,
  types: lambda do |connection|
    query = "select " + TYPES.each_with_index.map { |name, place| "$#{place + 1}::#{name}" }.join(", ")
    connection.exec_params(query, VALUES)
    connection.exec_params(query, VALUES, 1)
  end,
  copy_in: lambda do |connection|
    connection.copy_data("copy item (id, name) from stdin") do
      20.times { |number| connection.put_copy_data("#{2000 + number}\tcopied #{number}\n") }
    end
  end,
  copy_out: lambda do |connection|
    connection.copy_data("copy item (id, name, price) to stdout") { nil while connection.get_copy_data }
  end,
  notify: lambda do |connection|
    connection.exec("listen captures")
    connection.exec("notify captures, 'hello'")
    connection.wait_for_notify(10)
  end,
  failure: lambda do |connection|
    connection.transaction do
      connection.exec_params("update item set price = price + 1 where id = $1", [1])
      connection.exec_params("insert into item (id, name) values ($1, $2)", [1, "twice"])
    end
  rescue PG::UniqueViolation
    nil
  end,
  cancel: lambda do |connection|
    Thread.new { sleep(0.5) and connection.cancel }
    connection.exec("select pg_sleep(30)")
  rescue PG::QueryCanceled
    connection.exec("select 1")
  end
}

if ARGV[0] == "pool"
  pool = ConnectionPool.new(size: 1) { PG.connect }
  (1..3).each { |number| pool.with { |connection| connection.exec_params(NAME, [number]) } }
  pool.shutdown(&:close)
else
  connection = PG.connect
  WORKS.fetch(ARGV[0].to_sym).call(connection)
  connection.close
end
