import static java.util.Map.entry;

import jakarta.persistence.Column;
import jakarta.persistence.Entity;
import jakarta.persistence.Id;
import java.math.BigDecimal;
import java.util.Map;
import java.util.function.Consumer;
import java.util.logging.Level;
import java.util.logging.LogManager;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.cfg.Configuration;

/** Hibernate over pgjdbc, with its own pool of one. `java Hibernate SCENARIO`, where to connect in PGHOST and its kin. */
class Hibernate {
    @Entity(name = "item")
    static class Item {
        @Id int id;

        @Column(nullable = false)
        String name;

        BigDecimal price;
    }

    static final Map<String, Consumer<SessionFactory>> WORKS = Map.ofEntries(
        entry("one_query", sessions -> sessions.inTransaction(session -> find(session, 7))),
        entry("ten_queries", sessions -> sessions.inTransaction(session -> {
            for (int number = 1; number <= 10; number++) {
                find(session, number);
            }
        })),
        entry("failure", Hibernate::failure));

    public static void main(String[] arguments) {
        LogManager.getLogManager().getLogger("").setLevel(Level.OFF);
        Configuration settings = new Configuration()
            .setProperty("hibernate.connection.url", "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"))
            .setProperty("hibernate.connection.username", System.getenv("PGUSER"))
            .setProperty("hibernate.connection.password", System.getenv("PGPASSWORD"))
            .setProperty("hibernate.connection.pool_size", "1")
            .addAnnotatedClass(Item.class);
        try (SessionFactory sessions = settings.buildSessionFactory()) {
            WORKS.get(arguments[0]).accept(sessions);
        }
    }

    static void find(Session session, int number) {
        session.find(Item.class, number);
    }

    static void failure(SessionFactory sessions) {
        try {
            sessions.inTransaction(session -> {
                Item item = session.find(Item.class, 1);
                item.price = item.price.add(BigDecimal.ONE);
                Item twice = new Item();
                twice.id = 2;
                twice.name = "twice";
                session.persist(twice);
            });
        } catch (RuntimeException expected) {
            // the unique violation, rolled back
        }
    }
}
