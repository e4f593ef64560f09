import static java.util.Map.entry;

import io.netty.buffer.Unpooled;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import io.r2dbc.postgresql.PostgresqlConnectionConfiguration;
import io.r2dbc.postgresql.PostgresqlConnectionFactory;
import io.r2dbc.postgresql.api.PostgresqlConnection;
import io.r2dbc.postgresql.api.PostgresqlResult;
import io.r2dbc.postgresql.api.PostgresqlStatement;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.util.Map;
import java.util.UUID;
import java.util.function.Consumer;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** r2dbc-postgresql, each step awaited; the pool is r2dbc-pool. `java R2dbc SCENARIO`, where to connect in PGHOST and its kin. */
class R2dbc {
    static final String ITEM = "select id, name, price from item where id = $1";
    static final Duration LONG = Duration.ofSeconds(60);

    static final Map<String, Consumer<PostgresqlConnection>> WORKS = Map.ofEntries(
        entry("connect", connection -> {}),
        entry("one_query", connection -> rows(connection.createStatement(ITEM).bind(0, 7))),
        entry("ten_queries", R2dbc::tenQueries),
        entry("executemany", R2dbc::executemany),
        entry("types", R2dbc::types),
        entry("copy_in", R2dbc::copyIn),
        entry("notify", R2dbc::notification),
        entry("failure", R2dbc::failure),
        entry("cancel", R2dbc::cancel));

    public static void main(String[] arguments) {
        PostgresqlConnectionFactory factory = new PostgresqlConnectionFactory(
            PostgresqlConnectionConfiguration.builder()
                .host(System.getenv("PGHOST"))
                .port(Integer.parseInt(System.getenv("PGPORT")))
                .username(System.getenv("PGUSER"))
                .password(System.getenv("PGPASSWORD"))
                .database(System.getenv("PGDATABASE"))
                .build());
        if (arguments[0].equals("pool")) {
            pool(factory);
            return;
        }
        PostgresqlConnection connection = factory.create().block(LONG);
        try {
            WORKS.get(arguments[0]).accept(connection);
        } finally {
            connection.close().block(LONG);
        }
    }

    static Flux<Object> asked(PostgresqlStatement statement) {
        return statement.execute().flatMap(result -> result.map((row, metadata) -> row.get(0)));
    }

    static void rows(PostgresqlStatement statement) {
        asked(statement).collectList().block(LONG);
    }

    static Mono<Long> changed(PostgresqlStatement statement) {
        return statement.execute().flatMap(PostgresqlResult::getRowsUpdated).reduce(0L, Long::sum);
    }

    static void tenQueries(PostgresqlConnection connection) {
        for (int number = 1; number <= 10; number++) {
            rows(connection.createStatement(ITEM).bind(0, number));
        }
    }

    static void executemany(PostgresqlConnection connection) {
        PostgresqlStatement statement = connection.createStatement("insert into item (id, name, price) values ($1, $2, $3)");
        for (int number = 0; number < 100; number++) {
            if (number > 0) {
                statement.add();
            }
            statement.bind(0, 1000 + number).bind(1, "batch " + number);
            if (number % 7 == 0) {
                statement.bindNull(2, BigDecimal.class);
            } else {
                statement.bind(2, new BigDecimal(number + ".25"));
            }
        }
        changed(statement).block(LONG);
    }

    static void types(PostgresqlConnection connection) {
        String query = "select $1::int2, $2::int4, $3::int8, $4::bool, $5::float8, $6::numeric, $7::text, $8::bytea, $9::timestamptz, $10::date, $11::uuid, $12::int4[]";
        OffsetDateTime moment = OffsetDateTime.parse("2026-02-03T04:05:06.000789Z");
        Object[] values = {
            (short) -2, 4, 1L << 40, true, 1.5, new BigDecimal("12.340"), "naïve ✓", ByteBuffer.wrap(new byte[] {0, -1}), moment,
            LocalDate.of(2026, 2, 3), new UUID(0, 7), new Integer[] {1, null, 3},
        };
        PostgresqlStatement statement = connection.createStatement(query);
        for (int place = 0; place < values.length; place++) {
            statement.bind(place, values[place]);
        }
        rows(statement);
    }

    static void copyIn(PostgresqlConnection connection) {
        StringBuilder rows = new StringBuilder();
        for (int number = 0; number < 20; number++) {
            rows.append(2000 + number).append("\tcopied ").append(number).append('\n');
        }
        byte[] text = rows.toString().getBytes(StandardCharsets.UTF_8);
        connection.copyIn("copy item (id, name) from stdin", Mono.just(Unpooled.wrappedBuffer(text))).block(LONG);
    }

    static void notification(PostgresqlConnection connection) {
        rows(connection.createStatement("listen captures"));
        Mono<?> heard = connection.getNotifications().next().cache();
        Disposable listening = heard.subscribe();
        rows(connection.createStatement("notify captures, 'hello'"));
        heard.block(LONG);
        listening.dispose();
    }

    static void failure(PostgresqlConnection connection) {
        connection.beginTransaction().block(LONG);
        changed(connection.createStatement("update item set price = price + 1 where id = $1").bind(0, 1)).block(LONG);
        changed(connection.createStatement("insert into item (id, name) values ($1, $2)").bind(0, 1).bind(1, "twice"))
            .onErrorResume(expected -> connection.rollbackTransaction().thenReturn(0L))
            .block(LONG);
    }

    static void cancel(PostgresqlConnection connection) {
        Mono<?> slow = asked(connection.createStatement("select pg_sleep(30)")).then().onErrorComplete().cache();
        slow.subscribe();
        Mono.delay(Duration.ofMillis(500)).then(connection.cancelRequest()).block(LONG);
        slow.block(LONG);
        rows(connection.createStatement("select 1"));
    }

    static void pool(PostgresqlConnectionFactory factory) {
        ConnectionPool pool = new ConnectionPool(ConnectionPoolConfiguration.builder(factory).initialSize(1).maxSize(1).build());
        for (int number = 1; number <= 3; number++) {
            int id = number;
            Flux.usingWhen(
                    pool.create(),
                    connection -> Flux.from(connection.createStatement("select name from item where id = $1").bind(0, id).execute())
                        .flatMap(result -> result.map((row, metadata) -> row.get(0))),
                    connection -> connection.close())
                .blockLast(LONG);
        }
        pool.disposeLater().block(LONG);
    }
}
