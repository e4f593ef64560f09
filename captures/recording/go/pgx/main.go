// Command pgx plays the scenarios with pgx's own interface, and pgxpool.
package main

import (
	"context"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "pgtrace/captures/played"
)

var ctx = context.Background()

func main() {
	Main(map[string]func(string){
		"connect":     play(func(*pgx.Conn) {}),
		"one_query":   play(func(c *pgx.Conn) { fetch(c, 7) }),
		"ten_queries": play(tenQueries),
		"pipeline":    play(pipeline),
		"executemany": play(executeMany),
		"types":       play(types),
		"copy_in":     play(copyIn),
		"copy_out":    play(copyOut),
		"notify":      play(notify),
		"failure":     play(failure),
		"cancel":      play(cancel),
		"pool":        pool,
	})
}

func play(work func(*pgx.Conn)) func(string) {
	return func(url string) {
		conn, err := pgx.Connect(ctx, url)
		Must(err)
		work(conn)
		Must(conn.Close(ctx))
	}
}

func fetch(conn *pgx.Conn, id int) {
	var name string
	var price *float64
	Must(conn.QueryRow(ctx, Select, id).Scan(&id, &name, &price))
}

func tenQueries(conn *pgx.Conn) {
	for id := 1; id <= 10; id++ {
		fetch(conn, id)
	}
}

func pipeline(conn *pgx.Conn) {
	var batch pgx.Batch
	for id := 1; id <= 3; id++ {
		batch.Queue("select name from item where id = $1", id)
	}
	Must(conn.SendBatch(ctx, &batch).Close())
}

func executeMany(conn *pgx.Conn) {
	var batch pgx.Batch
	for n := range 100 {
		id, name, price := Batch(n)
		batch.Queue(Insert, id, name, price)
	}
	Must(conn.SendBatch(ctx, &batch).Close())
}

func types(conn *pgx.Conn) {
	moment := time.Date(2026, 2, 3, 4, 5, 6, 789_000, time.UTC)
	one, three := int32(1), int32(3)
	rows, err := conn.Query(ctx, Types,
		-2, 4, int64(1)<<40, true, 1.5, "12.340", "naïve ✓", []byte{0, 0xff}, moment, moment, UUID, []*int32{&one, nil, &three})
	Must(err)
	rows.Close()
	Must(rows.Err())
}

func copyIn(conn *pgx.Conn) {
	source := pgx.CopyFromSlice(20, func(n int) ([]any, error) {
		id, name := Copied(n)
		return []any{id, name}, nil
	})
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"item"}, []string{"id", "name"}, source)
	Must(err)
}

func copyOut(conn *pgx.Conn) {
	_, err := conn.PgConn().CopyTo(ctx, io.Discard, CopyOut)
	Must(err)
}

func notify(conn *pgx.Conn) {
	_, err := conn.Exec(ctx, "listen "+Channel)
	Must(err)
	_, err = conn.Exec(ctx, "notify "+Channel+", 'hello'")
	Must(err)
	_, err = conn.WaitForNotification(ctx)
	Must(err)
}

func failure(conn *pgx.Conn) {
	transaction, err := conn.Begin(ctx)
	Must(err)
	_, err = transaction.Exec(ctx, Update, 1)
	Must(err)
	_, err = transaction.Exec(ctx, Twice, 1, "twice")
	if err == nil {
		panic("no unique violation")
	}
	Must(transaction.Rollback(ctx))
}

// A context that ends costs pgx the connection: it cancels, closes, and connects anew for the query after.
func cancel(conn *pgx.Conn) {
	short, done := context.WithTimeout(ctx, 200*time.Millisecond)
	defer done()
	_, err := conn.Exec(short, TooLong)
	if err == nil {
		panic("not cancelled")
	}
	<-conn.PgConn().CleanupDone()
}

func pool(url string) {
	config, err := pgxpool.ParseConfig(url)
	Must(err)
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(ctx, config)
	Must(err)
	for id := 1; id <= 3; id++ {
		var name string
		Must(pool.QueryRow(ctx, "select name from item where id = $1", id).Scan(&name))
	}
	pool.Close()
}
