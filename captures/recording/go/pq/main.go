// Command pq plays the scenarios with lib/pq under database/sql, whose pool is the only one it has. Without sslmode it would insist on TLS.
package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/lib/pq"
	. "pgtrace/captures/played"
)

const plain = "?sslmode=disable"

var ctx = context.Background()

func main() {
	Main(map[string]func(string){
		"connect":     play(func(*sql.Conn) {}),
		"one_query":   play(func(c *sql.Conn) { fetch(c, 7) }),
		"ten_queries": play(tenQueries),
		"executemany": play(executeMany),
		"types":       play(types),
		"copy_in":     play(copyIn),
		"notify":      notify,
		"failure":     play(failure),
		"cancel":      play(cancel),
		"pool":        pool,
	})
}

func open(url string) *sql.DB {
	db, err := sql.Open("postgres", url+plain)
	Must(err)
	db.SetMaxOpenConns(1)
	return db
}

func play(work func(*sql.Conn)) func(string) {
	return func(url string) {
		db := open(url)
		conn, err := db.Conn(ctx)
		Must(err)
		work(conn)
		conn.Close()
		Must(db.Close())
	}
}

func fetch(conn *sql.Conn, id int) {
	var name string
	var price *float64
	Must(conn.QueryRowContext(ctx, Select, id).Scan(&id, &name, &price))
}

func tenQueries(conn *sql.Conn) {
	for id := 1; id <= 10; id++ {
		fetch(conn, id)
	}
}

func executeMany(conn *sql.Conn) {
	transaction, err := conn.BeginTx(ctx, nil)
	Must(err)
	statement, err := transaction.Prepare(Insert)
	Must(err)
	for n := range 100 {
		_, err = statement.Exec(row(Batch(n))...)
		Must(err)
	}
	Must(statement.Close())
	Must(transaction.Commit())
}

func row(id int, name string, price any) []any {
	return []any{id, name, price}
}

func types(conn *sql.Conn) {
	moment := time.Date(2026, 2, 3, 4, 5, 6, 789_000, time.UTC)
	rows, err := conn.QueryContext(ctx, Types,
		-2, 4, int64(1)<<40, true, 1.5, "12.340", "naïve ✓", []byte{0, 0xff}, moment, moment, UUID, pq.Array([]sql.NullInt32{{Int32: 1, Valid: true}, {}, {Int32: 3, Valid: true}}))
	Must(err)
	for rows.Next() {
	}
	Must(rows.Err())
}

func copyIn(conn *sql.Conn) {
	transaction, err := conn.BeginTx(ctx, nil)
	Must(err)
	statement, err := transaction.Prepare(pq.CopyIn("item", "id", "name"))
	Must(err)
	for n := range 20 {
		id, name := Copied(n)
		_, err = statement.Exec(id, name)
		Must(err)
	}
	_, err = statement.Exec()
	Must(err)
	Must(statement.Close())
	Must(transaction.Commit())
}

// A Listener has a connection of its own.
func notify(url string) {
	listener := pq.NewListener(url+plain, time.Second, time.Minute, func(_ pq.ListenerEventType, err error) { Must(err) })
	Must(listener.Listen(Channel))
	db := open(url)
	_, err := db.Exec("notify " + Channel + ", 'hello'")
	Must(err)
	<-listener.Notify
	Must(listener.Close())
	Must(db.Close())
}

func failure(conn *sql.Conn) {
	transaction, err := conn.BeginTx(ctx, nil)
	Must(err)
	_, err = transaction.Exec(Update, 1)
	Must(err)
	_, err = transaction.Exec(Twice, 1, "twice")
	if err == nil {
		panic("no unique violation")
	}
	Must(transaction.Rollback())
}

// A context that ends costs lib/pq the connection.
func cancel(conn *sql.Conn) {
	short, done := context.WithTimeout(ctx, 200*time.Millisecond)
	defer done()
	_, err := conn.ExecContext(short, TooLong)
	if err == nil {
		panic("not cancelled")
	}
}

func pool(url string) {
	db := open(url)
	for id := 1; id <= 3; id++ {
		var name string
		Must(db.QueryRow("select name from item where id = $1", id).Scan(&name))
	}
	Must(db.Close())
}
