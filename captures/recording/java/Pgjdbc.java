import static java.util.Map.entry;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.util.Map;
import java.util.Timer;
import java.util.TimerTask;
import java.util.UUID;
import org.postgresql.PGConnection;

/**
 * pgjdbc, in autocommit where a transaction is not the point; the pool is HikariCP. `java Pgjdbc SCENARIO`, where to connect in PGHOST and its kin.
 *
 * <p>JDBC has no pipeline but one: several statements in one string are sent behind one another.
 */
class Pgjdbc {
    interface Work {
        void with(Connection connection) throws Exception;
    }

    static final Map<String, Work> WORKS = Map.ofEntries(
        entry("connect", connection -> {}),
        entry("one_query", Pgjdbc::oneQuery),
        entry("ten_queries", Pgjdbc::tenQueries),
        entry("pipeline", Pgjdbc::pipeline),
        entry("executemany", Pgjdbc::executemany),
        entry("types", Pgjdbc::types),
        entry("copy_in", Pgjdbc::copyIn),
        entry("copy_out", Pgjdbc::copyOut),
        entry("notify", Pgjdbc::notification),
        entry("failure", Pgjdbc::failure),
        entry("cancel", Pgjdbc::cancel));

    public static void main(String[] arguments) throws Exception {
        String scenario = arguments[0];
        if (scenario.equals("pool")) {
            pool();
            return;
        }
        try (Connection connection = DriverManager.getConnection(url(), System.getenv("PGUSER"), System.getenv("PGPASSWORD"))) {
            WORKS.get(scenario).with(connection);
        }
    }

    static String url() {
        return "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
    }

    static void oneQuery(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("select id, name, price from item where id = ?")) {
            statement.setInt(1, 7);
            statement.executeQuery().next();
        }
    }

    static void tenQueries(Connection connection) throws SQLException {
        for (int number = 1; number <= 10; number++) {
            try (PreparedStatement statement = connection.prepareStatement("select id, name, price from item where id = ?")) {
                statement.setInt(1, number);
                statement.executeQuery().next();
            }
        }
    }

    static void pipeline(Connection connection) throws SQLException {
        String query = "select name from item where id = ?";
        try (PreparedStatement statement = connection.prepareStatement(query + "; " + query + "; " + query)) {
            for (int number = 1; number <= 3; number++) {
                statement.setInt(number, number);
            }
            statement.execute();
            while (statement.getMoreResults()) {}
        }
    }

    static void executemany(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("insert into item (id, name, price) values (?, ?, ?)")) {
            for (int number = 0; number < 100; number++) {
                statement.setInt(1, 1000 + number);
                statement.setString(2, "batch " + number);
                statement.setBigDecimal(3, number % 7 == 0 ? null : new BigDecimal(number + ".25"));
                statement.addBatch();
            }
            statement.executeBatch();
        }
    }

    static void types(Connection connection) throws SQLException {
        OffsetDateTime moment = OffsetDateTime.parse("2026-02-03T04:05:06.000789Z");
        String query = "select ?::int2, ?::int4, ?::int8, ?::bool, ?::float8, ?::numeric, ?::text, ?::bytea, ?::timestamptz, ?::date, ?::uuid, ?::int4[]";
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            statement.setShort(1, (short) -2);
            statement.setInt(2, 4);
            statement.setLong(3, 1L << 40);
            statement.setBoolean(4, true);
            statement.setDouble(5, 1.5);
            statement.setBigDecimal(6, new BigDecimal("12.340"));
            statement.setString(7, "naïve ✓");
            statement.setBytes(8, new byte[] {0, -1});
            statement.setObject(9, moment);
            statement.setObject(10, LocalDate.of(2026, 2, 3));
            statement.setObject(11, new UUID(0, 7));
            statement.setArray(12, connection.createArrayOf("int4", new Integer[] {1, null, 3}));
            for (int time = 0; time < 6; time++) { // the 5th is prepared by name, and answered in binary
                statement.executeQuery().next();
            }
        }
    }

    static void copyIn(Connection connection) throws Exception {
        StringBuilder rows = new StringBuilder();
        for (int number = 0; number < 20; number++) {
            rows.append(2000 + number).append("\tcopied ").append(number).append('\n');
        }
        connection.unwrap(PGConnection.class).getCopyAPI().copyIn("copy item (id, name) from stdin", new StringReader(rows.toString()));
    }

    static void copyOut(Connection connection) throws Exception {
        connection.unwrap(PGConnection.class).getCopyAPI().copyOut("copy item (id, name, price) to stdout", new StringWriter());
    }

    static void notification(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("listen captures");
            statement.execute("notify captures, 'hello'");
            connection.unwrap(PGConnection.class).getNotifications(10_000);
        }
    }

    static void failure(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (PreparedStatement update = connection.prepareStatement("update item set price = price + 1 where id = ?");
            PreparedStatement insert = connection.prepareStatement("insert into item (id, name) values (?, ?)")) {
            update.setInt(1, 1);
            update.executeUpdate();
            insert.setInt(1, 1);
            insert.setString(2, "twice");
            insert.executeUpdate();
        } catch (SQLException expected) {
            connection.rollback();
        }
    }

    static void cancel(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            TimerTask task = new TimerTask() {
                @Override
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException failed) {
                        throw new IllegalStateException(failed);
                    }
                }
            };
            new Timer(true).schedule(task, 500);
            statement.execute("select pg_sleep(30)");
        } catch (SQLException expected) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("select 1");
            }
        }
    }

    static void pool() throws SQLException {
        HikariConfig settings = new HikariConfig();
        settings.setJdbcUrl(url());
        settings.setUsername(System.getenv("PGUSER"));
        settings.setPassword(System.getenv("PGPASSWORD"));
        settings.setMaximumPoolSize(1);
        try (HikariDataSource pool = new HikariDataSource(settings)) {
            for (int number = 1; number <= 3; number++) {
                try (Connection connection = pool.getConnection();
                    PreparedStatement statement = connection.prepareStatement("select name from item where id = ?")) {
                    statement.setInt(1, number);
                    statement.executeQuery().next();
                }
            }
        }
    }
}
