import static java.util.Map.entry;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Map;

/**
 * pgjdbc: a program with a finding, and with `remedied` as second argument the same by the remedy. The names are those of pgtrace/identify/drivers/pgjdbc.py;
 * tests/live/remedied_elsewhere.py runs them. Where to connect in PGHOST and its kin.
 */
class PgjdbcRemedies {
    interface Work {
        void run() throws Exception;
    }

    static final String BY_ID = "select name from item where id = ?";
    static final String UNIQUE = "insert into item (id, name) values (?, 'taken')";

    static boolean remedied;

    static final Map<String, Work> WORKS = Map.ofEntries(
        entry("pgjdbc-any", PgjdbcRemedies::any),
        entry("pgjdbc-batch", PgjdbcRemedies::batch),
        entry("pgjdbc-threshold", () -> moved(remedied ? 0 : 1)),
        entry("pgjdbc-threshold-42P05", () -> taken(remedied ? 0 : 1)),
        entry("pgjdbc-newer", () -> moved(1)),
        entry("pgjdbc-newer-42P05", () -> taken(1)),
        entry("pgjdbc-on-conflict", PgjdbcRemedies::onConflict),
        entry("pgjdbc-rollback", () -> aborted("", remedied)),
        entry("pgjdbc-autosave", () -> aborted(remedied ? "autosave=always" : "", false)),
        entry("pgjdbc-pool-checks", PgjdbcRemedies::checks),
        entry("pgjdbc-fetch-size", PgjdbcRemedies::fetchSize),
        entry("pgjdbc-pool", PgjdbcRemedies::pool),
        entry("pgjdbc-parameters-leak", PgjdbcRemedies::leak),
        entry("pgjdbc-prepares", () -> often(remedied ? "" : "prepareThreshold=0")),
        entry("pgjdbc-no-statement", PgjdbcRemedies::statements),
        entry("pgjdbc-one-setter", PgjdbcRemedies::setters));

    public static void main(String[] arguments) throws Exception {
        remedied = arguments.length > 1;
        WORKS.get(arguments[0]).run();
    }

    static String url(String settings) {
        return "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE") + "?" + settings;
    }

    static Connection connect(String settings) throws SQLException {
        return DriverManager.getConnection(url(settings), System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
    }

    static void run(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int place = 0; place < values.length; place++) {
                statement.setObject(place + 1, values[place]);
            }
            statement.execute();
        }
    }

    static void tried(Connection connection, String sql, Object... values) {
        try {
            run(connection, sql, values);
        } catch (SQLException error) {
            // that is what the finding is about
        }
    }

    static void any() throws SQLException {
        try (Connection connection = connect("")) {
            if (remedied) {
                run(connection, "select name from item where id = any(?)", connection.createArrayOf("int4", new Integer[] {0, 1, 2, 3, 4, 5, 6, 7}));
                return;
            }
            for (int id = 0; id < 8; id++) {
                run(connection, BY_ID, id);
            }
        }
    }

    static void batch() throws SQLException {
        String sql = "insert into written (id, name) values (?, ?)";
        try (Connection connection = connect("reWriteBatchedInserts=true"); PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int id = 0; id < 16; id++) {
                statement.setInt(1, id);
                statement.setString(2, "tea");
                if (remedied) {
                    statement.addBatch();
                } else {
                    statement.execute();
                }
            }
            if (remedied) {
                statement.executeBatch();
            }
        }
    }

    /** Two clients on two server connections: one holds the first's while that goes on in the other. */
    static void moved(int threshold) throws SQLException {
        try (Connection first = connect("prepareThreshold=" + threshold); Connection second = connect("prepareThreshold=0");
            PreparedStatement statement = first.prepareStatement(BY_ID)) {
            for (int id = 0; id < 4; id++) {
                statement.setInt(1, id);
                statement.execute();
            }
            second.setAutoCommit(false);
            run(second, "select 1 as held");
            try {
                statement.setInt(1, 9);
                statement.execute();
            } catch (SQLException error) {
                // 26000
            }
            second.rollback();
        }
    }

    /** Two clients one after the other on one server connection: both call their first statement S_1. */
    static void taken(int threshold) throws SQLException {
        for (int client = 0; client < 2; client++) {
            try (Connection connection = connect("prepareThreshold=" + threshold)) {
                tried(connection, BY_ID, 1);
            }
        }
    }

    static void onConflict() throws SQLException {
        try (Connection connection = connect("");
            PreparedStatement statement = connection.prepareStatement(UNIQUE + (remedied ? " on conflict do nothing" : ""))) {
            for (int id = 1; id < 5; id++) {
                statement.setInt(1, id);
                statement.addBatch();
            }
            statement.executeBatch();
        } catch (SQLException error) {
            // 23505
        }
    }

    static void aborted(String settings, boolean rollsBack) throws SQLException {
        try (Connection connection = connect(settings)) {
            connection.setAutoCommit(false);
            run(connection, BY_ID, 1);
            tried(connection, UNIQUE, 1);
            if (rollsBack) {
                connection.rollback();
            }
            tried(connection, BY_ID, 2);
            connection.rollback();
        }
    }

    static HikariConfig settings() {
        HikariConfig settings = new HikariConfig();
        settings.setJdbcUrl(url(""));
        settings.setUsername(System.getenv("PGUSER"));
        settings.setPassword(System.getenv("PGPASSWORD"));
        settings.setMaximumPoolSize(1);
        return settings;
    }

    static void work(HikariDataSource pool) throws SQLException {
        for (int id = 0; id < 8; id++) {
            try (Connection connection = pool.getConnection()) {
                run(connection, BY_ID, id);
            }
        }
    }

    static void checks() throws SQLException {
        HikariConfig settings = settings();
        if (!remedied) {
            System.setProperty("com.zaxxer.hikari.aliveBypassWindowMs", "-1");
            settings.setConnectionTestQuery("select 1");
        }
        try (HikariDataSource pool = new HikariDataSource(settings)) {
            work(pool);
        }
    }

    static void fetchSize() throws SQLException {
        try (Connection connection = connect(""); Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            statement.setFetchSize(remedied ? 100 : 1);
            try (ResultSet rows = statement.executeQuery("select * from generate_series(1, 40)")) {
                while (rows.next()) {
                    rows.getInt(1);
                }
            }
            connection.rollback();
        }
    }

    static void pool() throws SQLException {
        if (remedied) {
            try (HikariDataSource pool = new HikariDataSource(settings())) {
                work(pool);
            }
            return;
        }
        for (int id = 0; id < 8; id++) {
            try (Connection connection = connect("")) {
                run(connection, BY_ID, id);
            }
        }
    }

    static void leak() throws SQLException {
        try (Connection connection = connect("prepareThreshold=1")) {
            for (int id = 0; id < 12; id++) {
                for (int times = 0; times < 2; times++) {
                    if (remedied) {
                        run(connection, BY_ID, id);
                    } else {
                        run(connection, "select name from item where id = " + id);
                    }
                    run(connection, "select now()");
                }
            }
        }
    }

    static void often(String settings) throws SQLException {
        try (Connection connection = connect(settings)) {
            for (int id = 0; id < 12; id++) {
                run(connection, BY_ID, id);
                run(connection, "select now()");
            }
        }
    }

    static void statements() throws SQLException {
        String sql = "select count(*) from item";
        try (Connection connection = connect("")) {
            for (int id = 0; id < 12; id++) {
                run(connection, BY_ID, id);
                if (remedied) {
                    run(connection, sql);
                    continue;
                }
                try (Statement statement = connection.createStatement()) {
                    statement.execute(sql);
                }
            }
        }
    }

    static void setters() throws SQLException {
        try (Connection connection = connect("prepareThreshold=1"); PreparedStatement statement = connection.prepareStatement(BY_ID)) {
            for (int id = 0; id < 16; id++) {
                if (remedied || id % 2 == 0) {
                    statement.setInt(1, id);
                } else {
                    statement.setLong(1, id);
                }
                statement.execute();
            }
        }
    }
}
