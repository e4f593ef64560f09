// Command pgx_remedies runs a program with a finding, and with `remedied` as its second argument the same by the remedy. The names are those of
// pgtrace/identify/drivers/pgx.py; tests/live/remedied_elsewhere.py runs them.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "pgtrace/captures/played"
)

const (
	byID   = "select name from item where id = $1"
	write  = "insert into written (id, name) values ($1, $2)"
	unique = "insert into item (id, name) values ($1, 'taken')"
)

var (
	ctx      = context.Background()
	remedied = len(os.Args) > 2
)

func main() {
	Main(map[string]func(string){
		"pgx-any":             connected(any_),
		"pgx-batch":           connected(batch),
		"pgx-modes":           modes(moved),
		"pgx-modes-42P05":     modes(taken),
		"pgx-newer":           moved,
		"pgx-newer-42P05":     taken,
		"pgx-on-conflict":     connected(onConflict),
		"pgx-rollback":        connected(rollback),
		"pgx-cache-statement": mode("describe_exec", "cache_statement"),
		"pgx-cache-describe":  mode("describe_exec", "cache_describe"),
		"pgx-prepare-once":    connected(prepareOnce),
		"pgx-acquire":         acquire,
		"pgx-no-begin":        noBegin,
		"pgx-larger-cache":    largerCache,
		"pgx-pool":            pool,
		"pgx-parameters-leak": connected(parameters),
		"pgx-deallocate":      connected(deallocate),
		"pgx-cache-keeps":     mode("exec", "cache_statement"),
		"pgx-together":        mode("describe_exec", "exec"),
	})
}

func with(url string, settings ...string) string {
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	return url + separator + strings.Join(settings, "&")
}

func connect(url string) *pgx.Conn {
	conn, err := pgx.Connect(ctx, url)
	Must(err)
	return conn
}

func connected(work func(*pgx.Conn)) func(string) {
	return func(url string) {
		conn := connect(url)
		Must(conn.Ping(ctx)) // so that it is recognised
		work(conn)
		Must(conn.Close(ctx))
	}
}

// query runs it, whatever comes of it.
func query(conn *pgx.Conn, text string, values ...any) error {
	rows, err := conn.Query(ctx, text, values...)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

func any_(conn *pgx.Conn) {
	if remedied {
		Must(query(conn, "select name from item where id = any($1)", []int32{0, 1, 2, 3, 4, 5, 6, 7}))
		return
	}
	for id := range 8 {
		Must(query(conn, byID, id))
	}
}

func batch(conn *pgx.Conn) {
	if !remedied {
		for id := range 8 {
			_, err := conn.Exec(ctx, write, id, "tea")
			Must(err)
		}
		return
	}
	var batch pgx.Batch
	rows := [][]any{}
	for id := range 8 {
		batch.Queue(write, id, "tea")
		rows = append(rows, []any{int32(id), "tea"})
	}
	Must(conn.SendBatch(ctx, &batch).Close())
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"written"}, []string{"id", "name"}, pgx.CopyFromRows(rows))
	Must(err)
}

// modes runs it with the default mode, or with each that keeps no statement under a name.
func modes(work func(string)) func(string) {
	return func(url string) {
		if !remedied {
			work(url)
			return
		}
		for _, one := range []string{"cache_describe", "exec", "simple_protocol"} {
			work(with(url, "default_query_exec_mode="+one))
		}
	}
}

// moved has two clients on two server connections: one holds the first's while that goes on in the other.
func moved(url string) {
	first, second := connect(url), connect(url)
	for id := range 3 {
		Must(query(first, byID, id))
	}
	tx, err := second.Begin(ctx)
	Must(err)
	_, err = tx.Exec(ctx, "select 1 as held", pgx.QueryExecModeSimpleProtocol)
	Must(err)
	_ = query(first, byID, 4)
	Must(tx.Rollback(ctx))
	_, _ = first.Close(ctx), second.Close(ctx)
}

// taken has two clients one after the other on one server connection; names are hashes of the SQL.
func taken(url string) {
	for range 2 {
		conn := connect(url)
		_ = query(conn, byID, 1)
		_ = conn.Close(ctx)
	}
}

func onConflict(conn *pgx.Conn) {
	text := unique
	if remedied {
		text += " on conflict do nothing"
	}
	var batch pgx.Batch
	for id := range 4 {
		batch.Queue(text, id+1)
	}
	_ = conn.SendBatch(ctx, &batch).Close()
}

func rollback(conn *pgx.Conn) {
	for range 2 {
		tx, err := conn.Begin(ctx)
		Must(err)
		if remedied {
			nested, err := tx.Begin(ctx)
			Must(err)
			_, _ = nested.Exec(ctx, unique, 1)
			Must(nested.Rollback(ctx))
			_, err = tx.Exec(ctx, write, 1, "tea")
			Must(err)
			_, _ = tx.Exec(ctx, unique, 1)
			Must(tx.Rollback(ctx))
			continue
		}
		_, _ = tx.Exec(ctx, unique, 1)
		_, _ = tx.Exec(ctx, write, 1, "tea")
		_ = tx.Rollback(ctx)
	}
}

func mode(before, after string) func(string) {
	return func(url string) {
		one := before
		if remedied {
			one = after
		}
		connected(func(conn *pgx.Conn) {
			for id := range 10 {
				Must(query(conn, byID, id))
				Must(query(conn, "select count(*) from item where id <> $1", id))
			}
		})(with(url, "default_query_exec_mode="+one))
	}
}

func prepareOnce(conn *pgx.Conn) {
	const name = "by_id"
	for id := range 8 {
		one := name
		if !remedied {
			one = fmt.Sprintf("by_id_%d", id)
		}
		if !remedied || id == 0 {
			_, err := conn.Prepare(ctx, one, byID)
			Must(err)
		}
		Must(query(conn, one, id))
		if !remedied {
			Must(conn.Deallocate(ctx, one))
		}
	}
}

func acquire(url string) {
	pool, err := pgxpool.New(ctx, with(url, "pool_max_conns=1"))
	Must(err)
	work := func(conn *pgxpool.Conn, id int) { Must(query(conn.Conn(), byID, id)) }
	held, err := pool.Acquire(ctx)
	Must(err)
	if !remedied {
		held.Release()
	}
	for id := range 6 {
		if remedied {
			work(held, id)
			continue
		}
		Must(pool.Ping(ctx))
		conn, err := pool.Acquire(ctx)
		Must(err)
		work(conn, id)
		conn.Release()
	}
	if remedied {
		held.Release()
	}
	pool.Close()
}

func noBegin(url string) {
	pool, err := pgxpool.New(ctx, url)
	Must(err)
	for id := range 6 {
		var name string
		if remedied {
			_ = pool.QueryRow(ctx, byID, id+1).Scan(&name)
			continue
		}
		tx, err := pool.Begin(ctx)
		Must(err)
		_ = tx.QueryRow(ctx, byID, id+1).Scan(&name)
		Must(tx.Commit(ctx))
	}
	pool.Close()
}

func largerCache(url string) {
	if !remedied {
		url = with(url, "statement_cache_capacity=3")
	}
	connected(func(conn *pgx.Conn) {
		for range 4 {
			for number := range 6 {
				Must(query(conn, fmt.Sprintf("select name as n%d from item where id = $1", number), number))
			}
		}
	})(url)
}

func pool(url string) {
	if !remedied {
		for id := range 6 {
			connected(func(conn *pgx.Conn) { Must(query(conn, byID, id)) })(url)
		}
		return
	}
	pool, err := pgxpool.New(ctx, url)
	Must(err)
	for id := range 6 {
		var name string
		_ = pool.QueryRow(ctx, byID, id+1).Scan(&name)
	}
	pool.Close()
}

func parameters(conn *pgx.Conn) {
	for id := range 12 {
		for range 2 { // twice: not prepared for nothing, but for too many texts
			if remedied {
				Must(query(conn, byID, id))
			} else {
				Must(query(conn, fmt.Sprintf("select name from item where id = %d", id)))
			}
			Must(query(conn, "select now()"))
		}
	}
}

func deallocate(conn *pgx.Conn) {
	for id := range 12 {
		name := fmt.Sprintf("by_id_%d", id)
		_, err := conn.Prepare(ctx, name, byID)
		Must(err)
		for range 2 {
			Must(query(conn, name, id))
			Must(query(conn, "select now()"))
		}
		if remedied {
			Must(conn.Deallocate(ctx, name))
		}
	}
}
